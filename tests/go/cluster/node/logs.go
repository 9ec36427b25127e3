package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"log"
	"math/big"
	"net/http"
	"strconv"
	"time"
)

// Where the API server asks for logs, as it does of a kubelet.
const logsPort = 10250

// serveLogs answers `kubectl logs`, and helm's asking for those of a hook.
func (n *node) serveLogs() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().AddDate(1, 0, 0)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		log.Fatal(err)
	}
	routes := http.NewServeMux()
	routes.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, n.logFile(r.PathValue("namespace"), r.PathValue("pod")))
	})
	server := &http.Server{
		Addr:    n.ip + ":" + strconv.Itoa(logsPort),
		Handler: routes,
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: key}},
		},
	}
	log.Fatal(server.ListenAndServeTLS("", ""))
}
