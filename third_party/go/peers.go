//go:build tools

// Package peers names the programs in Go that tests talk to, so that go.mod pins them and go.sum
// holds their checksums. Nothing of it is linked into Glia.
package peers

import (
	_ "github.com/summerwind/h2spec/cmd/h2spec"
	_ "github.com/summerwind/h2spec/cmd/h2specd"
)
