// xdscaller is a gRPC client without a sidecar, for tests: xdscaller TARGET. For each number on its
// standard input it makes so many calls and prints, as JSON, how often who answered, or what the error
// was. GRPC_XDS_BOOTSTRAP says where its control plane is.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/credentials/xds"
	"google.golang.org/grpc/status"
	_ "google.golang.org/grpc/xds"
)

const callLimit = 20 * time.Second

// plain is a codec that leaves bytes as they are: what is called has no message of its own.
type plain struct{}

func (plain) Marshal(v any) ([]byte, error)      { return *v.(*[]byte), nil }
func (plain) Unmarshal(data []byte, v any) error { *v.(*[]byte) = data; return nil }
func (plain) Name() string                       { return "proto" }

func call(connection *grpc.ClientConn) string {
	context, cancel := context.WithTimeout(context.Background(), callLimit)
	defer cancel()
	var request, answer []byte
	err := connection.Invoke(context, "/e2e.Echo/Who", &request, &answer, grpc.WaitForReady(true),
		grpc.ForceCodec(plain{}))
	if err != nil {
		return fmt.Sprintf("%v: %v", status.Code(err), status.Convert(err).Message())
	}
	return string(answer)
}

func main() {
	credentials, err := xds.NewClientCredentials(
		xds.ClientOptions{FallbackCreds: insecure.NewCredentials()})
	if err != nil {
		log.Fatal(err)
	}
	connection, err := grpc.Dial(os.Args[1], grpc.WithTransportCredentials(credentials))
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		times, err := strconv.Atoi(lines.Text())
		if err != nil {
			log.Fatal(err)
		}
		seen := map[string]int{}
		for ; times > 0; times-- {
			seen[call(connection)]++
		}
		text, _ := json.Marshal(seen)
		fmt.Println(string(text))
	}
}
