// Command witness is a C2SP tlog-witness of others: what it checks, signs and answers is decided in
// github.com/transparency-dev/witness. What is written here is which logs it knows, where it listens, and that it
// remembers the last checkpoint of each as long as it runs.
//
//	witness [-listen HOST:PORT] KEY LOG-VKEY...    KEY: a signer key as golang.org/x/mod/sumdb/note writes it
//
// It listens on a free port of 127.0.0.1 if not told where, and prints its URL. It forgets everything when it ends.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"

	fnote "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/witness/witness"
	"golang.org/x/mod/sumdb/note"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "where to listen, as HOST:PORT")
	flag.Parse()
	if flag.NArg() < 2 {
		fmt.Fprintln(os.Stderr, "usage: witness [-listen HOST:PORT] KEY LOG-VKEY...")
		os.Exit(2)
	}
	if err := run(*listen, flag.Arg(0), flag.Args()[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(listen, key string, vkeys []string) error {
	ctx := context.Background()
	signer, err := fnote.NewSignerForCosignatureV1(key)
	if err != nil {
		return err
	}
	known := make(map[string]note.Verifier)
	for _, vkey := range vkeys {
		verifier, err := note.NewVerifier(vkey)
		if err != nil {
			return err
		}
		known[verifier.Name()] = verifier
	}
	made, err := witness.New(ctx, witness.Opts{
		Persistence: &memory{notes: make(map[string][]byte)},
		Signers:     []note.Signer{signer},
		VerifierForLog: func(_ context.Context, origin string) (note.Verifier, bool, error) {
			verifier, ok := known[origin]
			return verifier, ok, nil
		},
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /add-checkpoint", witness.NewHTTPHandler(made).AddCheckpoint)
	fmt.Printf("http://%s/\n", listener.Addr())
	return http.Serve(listener, mux)
}

// memory keeps the last checkpoint of each log.
type memory struct {
	lock  sync.Mutex
	notes map[string][]byte
}

func (m *memory) Init(context.Context) error { return nil }

func (m *memory) Latest(_ context.Context, origin string) ([]byte, error) {
	m.lock.Lock()
	defer m.lock.Unlock()
	return m.notes[origin], nil
}

func (m *memory) Update(_ context.Context, origin string, change func([]byte) ([]byte, error)) error {
	m.lock.Lock()
	defer m.lock.Unlock()
	next, err := change(m.notes[origin])
	if err != nil {
		return err
	}
	m.notes[origin] = next
	return nil
}
