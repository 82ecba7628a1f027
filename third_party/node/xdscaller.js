// A gRPC client without a sidecar: xdscaller.js TARGET. For each number on its standard input it makes so
// many calls and prints, as JSON, how often who answered, or what the error was. GRPC_XDS_BOOTSTRAP
// says where its control plane is.
'use strict';

const readline = require('readline');
const grpc = require('@grpc/grpc-js');
const xds = require('@grpc/grpc-js-xds');

const CALL_LIMIT_MS = 20000;
const same = (bytes) => bytes;

xds.register();
const credentials =
    new xds.XdsChannelCredentials(grpc.credentials.createInsecure());
const client = new grpc.Client(process.argv[2], credentials);

function call() {
  return new Promise((resolve) => {
    const metadata = new grpc.Metadata({waitForReady: true});
    const options = {deadline: Date.now() + CALL_LIMIT_MS};
    client.makeUnaryRequest('/e2e.Echo/Who', same, same, Buffer.alloc(0), metadata, options,
        (error, answer) => resolve(error ?
            `${grpc.status[error.code]}: ${error.details}` : answer.toString()));
  });
}

async function main() {
  for await (const line of readline.createInterface({input: process.stdin})) {
    const seen = {};
    for (let times = Number(line); times > 0; --times) {
      const who = await call();
      seen[who] = (seen[who] || 0) + 1;
    }
    console.log(JSON.stringify(seen));
  }
  client.close();
}

main();
