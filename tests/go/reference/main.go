// Reference says what the distribution project's reference module makes of image references.
//
// It reads one JSON string per line and answers each with one JSON object per line: the registry,
// repository, tag and digest that ParseNormalizedNamed finds, or its error. The integration tests
// build it, run it, and compare every answer with the project's own parser.
package main

import (
	"bufio"
	// Without these every digest is invalid; the kubelet has them too.
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/json"
	"errors"
	"io"
	"log"
	"os"

	"github.com/distribution/reference"
)

type answer struct {
	Registry   string `json:"registry"`
	Repository string `json:"repository"`
	Tag        string `json:"tag"`
	Digest     string `json:"digest"`
	Error      string `json:"error"`
}

func parse(image string) answer {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return answer{Error: err.Error()}
	}
	parsed := answer{Registry: reference.Domain(named), Repository: reference.Path(named)}
	if tagged, ok := named.(reference.Tagged); ok {
		parsed.Tag = tagged.Tag()
	}
	if digested, ok := named.(reference.Digested); ok {
		parsed.Digest = digested.Digest().String()
	}
	return parsed
}

func main() {
	log.SetFlags(0)
	out := bufio.NewWriter(os.Stdout)
	encoder := json.NewEncoder(out)
	decoder := json.NewDecoder(bufio.NewReader(os.Stdin))
	for {
		var image string
		if err := decoder.Decode(&image); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			log.Fatal(err)
		}
		if err := encoder.Encode(parse(image)); err != nil {
			log.Fatal(err)
		}
	}
	if err := out.Flush(); err != nil {
		log.Fatal(err)
	}
}
