// xdsplane is a control plane of a few lines on Go's go-control-plane, for tests: a server that is
// not ours, for a client that is.
//
// It prints "port N" and serves ADS in both variants there, in clear text on loopback. Each line on
// its standard input is a snapshot for the node that -node names: {"version": "1", "resources":
// [{"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", ...}, ...]}. It prints "set
// VERSION", and for each answer of the client "ack TYPE" or "nack TYPE SENTENCE".
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"strings"
	"sync"

	_ "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	status "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"
)

// say prints a line; callbacks come from many goroutines.
var say = func() func(format string, arguments ...any) {
	var lock sync.Mutex
	return func(format string, arguments ...any) {
		lock.Lock()
		defer lock.Unlock()
		fmt.Printf(format+"\n", arguments...)
	}
}()

// answered tells what a client said about the response with that nonce.
func answered(url, nonce string, refusal *status.Status) {
	kind := url[strings.LastIndex(url, ".")+1:]
	switch {
	case nonce == "":
	case refusal != nil:
		say("nack %s %s", kind, strings.ReplaceAll(refusal.GetMessage(), "\n", " "))
	default:
		say("ack %s", kind)
	}
}

// take makes a snapshot of one line of input.
func take(line []byte) (*cache.Snapshot, error) {
	var told struct {
		Version   string
		Resources []json.RawMessage
	}
	if err := json.Unmarshal(line, &told); err != nil {
		return nil, err
	}
	byType := map[string][]types.Resource{}
	for _, text := range told.Resources {
		packed := &anypb.Any{}
		if err := protojson.Unmarshal(text, packed); err != nil {
			return nil, err
		}
		resource, err := packed.UnmarshalNew()
		if err != nil {
			return nil, err
		}
		byType[packed.TypeUrl] = append(byType[packed.TypeUrl], resource)
	}
	return cache.NewSnapshot(told.Version, byType)
}

func main() {
	node := flag.String("node", "", "node id of the client")
	port := flag.Int("port", 0, "0: a free one")
	flag.Parse()
	log.SetFlags(0)
	snapshots := cache.NewSnapshotCache(true, cache.IDHash{}, nil)
	callbacks := server.CallbackFuncs{
		StreamRequestFunc: func(_ int64, r *discovery.DiscoveryRequest) error {
			answered(r.TypeUrl, r.ResponseNonce, r.ErrorDetail)
			return nil
		},
		StreamDeltaRequestFunc: func(_ int64, r *discovery.DeltaDiscoveryRequest) error {
			answered(r.TypeUrl, r.ResponseNonce, r.ErrorDetail)
			return nil
		},
		StreamOpenFunc: func(context.Context, int64, string) error { say("stream"); return nil },
		DeltaStreamOpenFunc: func(context.Context, int64, string) error {
			say("delta stream")
			return nil
		},
	}
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		log.Fatal(err)
	}
	calls := grpc.NewServer()
	discovery.RegisterAggregatedDiscoveryServiceServer(
		calls, server.NewServer(context.Background(), snapshots, callbacks))
	go func() { log.Fatal(calls.Serve(listener)) }()
	say("port %d", listener.Addr().(*net.TCPAddr).Port)

	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		snapshot, err := take(lines.Bytes())
		if err != nil {
			log.Fatal(err)
		}
		if err := snapshots.SetSnapshot(context.Background(), *node, snapshot); err != nil {
			log.Fatal(err)
		}
		say("set %s", snapshot.GetVersion("type.googleapis.com/envoy.config.cluster.v3.Cluster"))
	}
}
