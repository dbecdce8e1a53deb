// Command outsider reads what Ridecast exports with nothing of Ridecast's: notes by golang.org/x/mod/sumdb/note, trees by
// golang.org/x/mod/sumdb/tlog. It ends with status 0 only when everything that it read is proved.
//
//	outsider log KEY ORIGIN DIR|URL     every entry is in the tree that the checkpoint signs
//	outsider proof KEY ORIGIN FILE      the entry in a tlog-proof is in the tree that its checkpoint signs
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8 // C2SP tlog-tiles; sumdb's tiles may have others, so its paths name it

func main() {
	if len(os.Args) != 5 {
		fail(errors.New("expected: outsider log|proof KEY ORIGIN PLACE"))
	}
	key, origin, place := os.Args[2], os.Args[3], os.Args[4]
	verifier, err := note.NewVerifier(key)
	fail(err)
	switch os.Args[1] {
	case "log":
		fail(checkLog(verifier, origin, place))
	case "proof":
		fail(checkProof(verifier, origin, place))
	default:
		fail(fmt.Errorf("unknown command %q", os.Args[1]))
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "refused:", err)
		os.Exit(1)
	}
}

// checkpoint opens a signed note and reads the tree in it.
func checkpoint(text []byte, verifier note.Verifier, origin string) (tlog.Tree, error) {
	opened, err := note.Open(text, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 || lines[0] != origin {
		return tlog.Tree{}, fmt.Errorf("expected a checkpoint of %s, got %q", origin, lines[0])
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: root}, err
}

// checkLog proves each entry of a log, from its bundles and its tiles.
func checkLog(verifier note.Verifier, origin, place string) error {
	text, err := read(place, "checkpoint")
	if err != nil {
		return err
	}
	tree, err := checkpoint(text, verifier, origin)
	if err != nil {
		return err
	}
	hashes := tlog.TileHashReader(tree, tiles{place, map[string][]byte{}}) // It holds every tile against the root.
	for first := int64(0); first < tree.N; first += 1 << height {
		width := int(min(1<<height, tree.N-first))
		bundle, err := read(place, strings.Replace(path(tlog.Tile{H: height, L: 0, N: first >> height, W: width}), "tile/0/", "tile/entries/", 1))
		if err != nil {
			return err
		}
		for index := first; index < first+int64(width); index++ {
			if len(bundle) < 2 || len(bundle) < 2+int(binary.BigEndian.Uint16(bundle)) {
				return fmt.Errorf("entry %d is cut", index)
			}
			end := 2 + int(binary.BigEndian.Uint16(bundle))
			if err := prove(tree, index, bundle[2:end], hashes); err != nil {
				return fmt.Errorf("entry %d: %w", index, err)
			}
			bundle = bundle[end:]
		}
		if len(bundle) != 0 {
			return fmt.Errorf("bytes behind entry %d", first+int64(width)-1)
		}
	}
	fmt.Printf("proved %d entries of %s\n", tree.N, origin)
	return nil
}

func prove(tree tlog.Tree, index int64, entry []byte, hashes tlog.HashReader) error {
	proof, err := tlog.ProveRecord(tree.N, index, hashes)
	if err != nil {
		return err
	}
	return tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry))
}

// checkProof opens a C2SP tlog-proof whose extra line holds, last of all, the entry.
func checkProof(verifier note.Verifier, origin, place string) error {
	text, err := os.ReadFile(place)
	if err != nil {
		return err
	}
	above, below, found := bytes.Cut(text, []byte("\n\n"))
	lines := strings.Split(string(above), "\n")
	if !found || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return errors.New("not a tlog-proof")
	}
	extra, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	if err != nil {
		return err
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	if err != nil {
		return err
	}
	var proof tlog.RecordProof
	for _, line := range lines[3:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return err
		}
		proof = append(proof, hash)
	}
	tree, err := checkpoint(below, verifier, origin)
	if err != nil {
		return err
	}
	entry, err := lastField(extra)
	if err != nil {
		return err
	}
	if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry)); err != nil {
		return err
	}
	fmt.Printf("proved entry %d of %d of %s\n", index, tree.N, origin)
	return nil
}

// lastField skips what an extra line holds before the entry: ten bytes, three numbers, two byte strings; all Avro.
func lastField(data []byte) ([]byte, error) {
	data = data[min(10, len(data)):]
	var field []byte
	for at := range 6 {
		value, n := binary.Varint(data)
		if n <= 0 {
			return nil, errors.New("a number is cut")
		}
		data = data[n:]
		if at >= 3 {
			if value < 0 || value > int64(len(data)) {
				return nil, errors.New("a field is cut")
			}
			field, data = data[:value], data[value:]
		}
	}
	if len(data) != 0 {
		return nil, errors.New("bytes behind the entry")
	}
	return field, nil
}

// tiles reads the tiles of a log for sumdb/tlog, which says when one is proved and may be kept.
type tiles struct {
	place string
	kept  map[string][]byte
}

func (t tiles) Height() int { return height }

func (t tiles) SaveTiles(proved []tlog.Tile, data [][]byte) {
	for at, tile := range proved {
		t.kept[path(tile)] = data[at]
	}
}

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range wanted {
		data, ok := t.kept[path(tile)]
		if !ok {
			var err error
			if data, err = read(t.place, path(tile)); err != nil {
				return nil, err
			}
		}
		found = append(found, data)
	}
	return found, nil
}

// path is where C2SP tlog-tiles has a tile: as sumdb, without the height.
func path(tile tlog.Tile) string {
	return strings.Replace(tile.Path(), fmt.Sprintf("tile/%d/", height), "tile/", 1)
}

func read(place, path string) ([]byte, error) {
	if !strings.HasPrefix(place, "http://") {
		return os.ReadFile(filepath.Join(place, path))
	}
	answer, err := http.Get(place + "/" + path)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", path, answer.Status)
	}
	return io.ReadAll(answer.Body)
}
