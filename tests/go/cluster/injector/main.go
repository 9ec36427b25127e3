// Command injector is a webhook of a test cluster that adds a container to Pods, as the injector of a
// service mesh does: at the end, and once.
package main

import (
	"encoding/json"
	"flag"
	"log"
	"net/http"
	"slices"
)

// The container's name.
const name = "injected"

// What it reads and writes of an AdmissionReview.
type review struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Request    *request  `json:"request,omitempty"`
	Response   *response `json:"response,omitempty"`
}

type request struct {
	UID    string `json:"uid"`
	Object struct {
		Spec struct {
			Containers []container `json:"containers"`
		} `json:"spec"`
	} `json:"object"`
}

type container struct {
	Name  string `json:"name"`
	Image string `json:"image"`
}

type response struct {
	UID       string `json:"uid"`
	Allowed   bool   `json:"allowed"`
	PatchType string `json:"patchType,omitempty"`
	Patch     []byte `json:"patch,omitempty"`
}

func main() {
	image := flag.String("image", "", "the container's image")
	listen := flag.String("listen", ":8443", "address")
	tls := flag.String("tls", "", "folder with tls.crt and tls.key")
	flag.Parse()
	http.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) {
		var read review
		if err := json.NewDecoder(r.Body).Decode(&read); err != nil || read.Request == nil {
			http.Error(w, "not an AdmissionReview", http.StatusBadRequest)
			return
		}
		log.Printf("asked about %v", read.Request.Object.Spec.Containers)
		read.Response, read.Request = answer(read.Request, *image), nil
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(read)
	})
	log.Fatal(http.ListenAndServeTLS(*listen, *tls+"/tls.crt", *tls+"/tls.key", nil))
}

func answer(asked *request, image string) *response {
	answer := &response{UID: asked.UID, Allowed: true}
	present := func(c container) bool { return c.Name == name }
	if slices.ContainsFunc(asked.Object.Spec.Containers, present) {
		return answer
	}
	patch, err := json.Marshal([]map[string]any{{
		"op": "add", "path": "/spec/containers/-", "value": container{Name: name, Image: image},
	}})
	if err != nil {
		log.Fatal(err)
	}
	answer.PatchType, answer.Patch = "JSONPatch", patch
	return answer
}
