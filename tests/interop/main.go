// Command interop reads what Comity hands out with libraries that others wrote, and says whether it holds.
//
//	interop proof POLICY PROOF STATEMENT    a .tlog-proof of a statement, under a policy
//	interop archive POLICY DIR              the checkpoint of an archive, and its root from the entries
//
// It shares no code with Comity: notes and trees come from golang.org/x/mod/sumdb, checkpoints, cosignatures, policies and
// proofs from github.com/transparency-dev/formats. What is written here is the order of the checks, and where an entry
// bundle lies. Exit status 0: it holds. 1: it does not, and why is on standard error. 2: misuse.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/transparency-dev/formats/log"
	fnote "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/formats/proof"
	"github.com/transparency-dev/formats/witness"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	checks := map[string]func([]string) error{"proof": checkProof, "archive": checkArchive}
	counts := map[string]int{"proof": 3, "archive": 2}
	if len(os.Args) < 2 || checks[os.Args[1]] == nil || len(os.Args)-2 != counts[os.Args[1]] {
		fmt.Fprintln(os.Stderr, "usage: interop proof POLICY PROOF STATEMENT | interop archive POLICY DIR")
		os.Exit(2)
	}
	if err := checks[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func checkProof(files []string) error {
	data, err := readAll(files)
	if err != nil {
		return err
	}
	var p proof.TLogProof
	if err := p.Unmarshal(data[1]); err != nil {
		return err
	}
	checkpoint, err := openCheckpoint(p.Checkpoint, data[0])
	if err != nil {
		return err
	}
	root, err := rootOf(checkpoint)
	if err != nil {
		return err
	}
	path := make(tlog.RecordProof, len(p.Hashes))
	for i, hash := range p.Hashes {
		path[i] = tlog.Hash(hash)
	}
	leaf := tlog.RecordHash(data[2])
	if err := tlog.CheckRecord(path, int64(checkpoint.Size), root, int64(p.Index), leaf); err != nil {
		return err
	}
	fmt.Printf("index %d of %d in %s\n", p.Index, checkpoint.Size, checkpoint.Origin)
	return nil
}

func checkArchive(arguments []string) error {
	data, err := readAll([]string{arguments[0], filepath.Join(arguments[1], "checkpoint")})
	if err != nil {
		return err
	}
	checkpoint, err := openCheckpoint(data[1], data[0])
	if err != nil {
		return err
	}
	root, err := rootOf(checkpoint)
	if err != nil {
		return err
	}
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			hashes[i] = stored[index]
		}
		return hashes, nil
	})
	size := int64(checkpoint.Size)
	for bundle := int64(0); bundle*256 < size; bundle++ {
		entries, err := readBundle(arguments[1], bundle, min(256, size-bundle*256))
		if err != nil {
			return err
		}
		for i, entry := range entries {
			hashes, err := tlog.StoredHashes(bundle*256+int64(i), entry, reader)
			if err != nil {
				return err
			}
			stored = append(stored, hashes...)
		}
	}
	computed, err := tlog.TreeHash(size, reader)
	if err != nil {
		return err
	}
	if computed != root {
		return fmt.Errorf("root differs: expected %v, got %v", root, computed)
	}
	fmt.Printf("%d entries of %s\n", size, checkpoint.Origin)
	return nil
}

// openCheckpoint returns the checkpoint if a log of the policy signed it and the quorum cosigned it.
func openCheckpoint(signed, policy []byte) (*log.Checkpoint, error) {
	var logs []note.Verifier
	var witnesses []note.Verifier
	lines := strings.Split(string(policy), "\n")
	for i, line := range lines {
		fields := strings.Fields(line)
		switch {
		case len(fields) >= 2 && fields[0] == "log":
			verifier, err := note.NewVerifier(fields[1])
			if err != nil {
				return nil, err
			}
			logs = append(logs, verifier)
		case len(fields) >= 3 && fields[0] == "witness":
			verifier, err := fnote.NewVerifierForCosignatureV1(fields[2])
			if err != nil {
				return nil, err
			}
			witnesses = append(witnesses, verifier)
			if len(fields) == 3 { // the URL is optional in the specification, not in this library
				lines[i] = line + " https://witness.invalid/"
			}
		}
	}
	quorum, err := witness.ParsePolicy([]byte(strings.Join(lines, "\n")))
	if err != nil {
		return nil, err
	}
	for _, verifier := range logs {
		checkpoint, _, opened, err := log.ParseCheckpoint(signed, verifier.Name(), verifier, witnesses...)
		if err != nil {
			continue
		}
		if !quorum.Satisfied(signed) {
			return nil, errors.New("quorum is not met")
		}
		for _, line := range opened.Sigs[1:] {
			if at, err := fnote.CoSigV1Timestamp(line); err == nil {
				fmt.Printf("%s cosigned at %d\n", line.Name, at.Unix())
			}
		}
		return checkpoint, nil
	}
	return nil, errors.New("no log of the policy signed the checkpoint")
}

func rootOf(checkpoint *log.Checkpoint) (root tlog.Hash, err error) {
	if copy(root[:], checkpoint.Hash) != tlog.HashSize || len(checkpoint.Hash) != tlog.HashSize {
		err = fmt.Errorf("root has wrong length: expected %d, got %d", tlog.HashSize, len(checkpoint.Hash))
	}
	return root, err
}

// readBundle reads an entry bundle of C2SP tlog-tiles.
func readBundle(dir string, index, width int64) ([][]byte, error) {
	path := fmt.Sprintf("%03d", index%1000)
	for rest := index / 1000; rest > 0; rest /= 1000 {
		path = fmt.Sprintf("x%03d/%s", rest%1000, path)
	}
	if width < 256 {
		path = fmt.Sprintf("%s.p/%d", path, width)
	}
	data, err := os.ReadFile(filepath.Join(dir, "tile", "entries", filepath.FromSlash(path)))
	if err != nil {
		return nil, err
	}
	entries := make([][]byte, 0, width)
	for len(data) > 0 {
		if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
			return nil, fmt.Errorf("bundle %d ends early", index)
		}
		end := 2 + int(binary.BigEndian.Uint16(data))
		entries = append(entries, data[2:end])
		data = data[end:]
	}
	if int64(len(entries)) != width {
		return nil, fmt.Errorf("bundle %d has the wrong count: expected %d, got %d", index, width, len(entries))
	}
	return entries, nil
}

func readAll(files []string) ([][]byte, error) {
	var all [][]byte
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}
