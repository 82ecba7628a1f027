// Load reports as they pass the router: read from answers where this proxy chooses by them, and put into
// answers where this proxy is the one in front of a model server.
#pragma once

#include <optional>

#include "proxy/flow/exchange.h"
#include "proxy/mesh/cluster.h"

namespace glia {

// What of the request says which endpoint is best. The views live as long as the exchange.
PickHints hints_of(const Exchange& exchange, const ClusterConfig& config);

// `request`, the exchange's or a copy of it, is about to be sent: tells the next sidecar, or learns from
// the last one, how much of the prompt the server has to read.
void count_tokens(Exchange& exchange, Request& request, Lease& lease, const Tried& tried);
// The head of an answer has come.
void talk_load(Exchange& exchange, const Lease& lease, Response& response);
// The head of an answer is ours, and is sent before the server has said anything.
void tell_load_early(Exchange& exchange, Response& response);
// The first of its body has, or its end: the prompt was read. `latency` is from the start of the
// attempt, `work` is Tried::work of the lease. Many engines send the head of a stream at once.
void answer_begins(Exchange& exchange, Lease& lease, int status, Duration latency, float work);
// Nobody waits for this answer any more, since another came sooner: it would have taken `waited` at least.
void answer_is_late(Exchange& exchange, const Lease& lease, Duration waited, float work);
// Believes the report among these fields, if the cluster chooses by such.
void hear_load(Exchange& exchange, const Lease& lease, const Headers& fields);
// The trailers with the load at the end of the answer, for a caller that takes trailers; or without the
// report that was for us. Nothing: the upstream's own will do.
std::optional<Headers> trailers_with_load(Exchange& exchange, const Lease& lease,
                                          const Headers* trailers);

}  // namespace glia
