// Load sends reviews over HTTPS as an API server does, and checks every answer.
//
// The transport is set up like client-go's for webhooks: keep-alive, at most 25 idle connections
// per host, kept for 90 s, and HTTP/1.1 alone, which is what an API server speaks to a Service. A
// review is a POST without an Idempotency-Key, so Go's transport sends it again only where it knows
// that not a byte of it was written to a kept connection that the server had closed. That is left
// as client-go has it; any other error is a lost review, and counts as failed.
//
// It runs until it has sent -count reviews or, with -count 0, until standard input is closed, and
// then prints one JSON object: how many were sent, how many failed, the first errors, how many
// connections were made, and the serial numbers of the certificates seen.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// maxErrors is how many errors are printed.
const maxErrors = 10

type result struct {
	Sent        int64    `json:"sent"`
	Failed      int64    `json:"failed"`
	Errors      []string `json:"errors"`
	Connections int64    `json:"connections"`
	Serials     []string `json:"serials"`
}

type load struct {
	url    string
	body   []byte
	client *http.Client
	count  int64
	pause  time.Duration
	stop   chan struct{}

	next        atomic.Int64
	connections atomic.Int64

	mutex   sync.Mutex
	result  result
	serials map[string]bool
}

func main() {
	log.SetFlags(0)
	url := flag.String("url", "", "where to send the reviews")
	ca := flag.String("ca", "", "the file with the certificates to trust")
	review := flag.String("review", "", "the file with the review to send")
	workers := flag.Int("workers", 8, "how many reviews to have in flight")
	count := flag.Int64("count", 0, "how many reviews to send; 0: until standard input is closed")
	pause := flag.Duration("pause", 0, "how long each worker waits after an answer")
	fresh := flag.Bool("fresh", false, "a new connection for each review")
	flag.Parse()

	pem, err := os.ReadFile(*ca)
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		log.Fatalf("no certificate in %s", *ca)
	}
	body, err := os.ReadFile(*review)
	if err != nil {
		log.Fatal(err)
	}

	l := &load{url: *url, body: body, count: *count, pause: *pause, stop: make(chan struct{}), serials: map[string]bool{}}
	dialer := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	transport := &http.Transport{
		DialContext:         dialer.DialContext,
		DisableKeepAlives:   *fresh,
		IdleConnTimeout:     90 * time.Second,
		MaxIdleConnsPerHost: 25,
		Protocols:           protocols,
		TLSHandshakeTimeout: 10 * time.Second,
		TLSClientConfig: &tls.Config{
			RootCAs:          roots,
			ServerName:       "localhost",
			VerifyConnection: l.connected,
		},
	}
	l.client = &http.Client{Transport: transport, Timeout: 30 * time.Second}

	if *count == 0 {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			close(l.stop)
		}()
	}
	var group sync.WaitGroup
	for range *workers {
		group.Go(l.work)
	}
	group.Wait()
	transport.CloseIdleConnections()

	l.result.Connections = l.connections.Load()
	for serial := range l.serials {
		l.result.Serials = append(l.result.Serials, serial)
	}
	if err := json.NewEncoder(os.Stdout).Encode(l.result); err != nil {
		log.Fatal(err)
	}
}

// connected notes the certificate of a new connection.
func (l *load) connected(state tls.ConnectionState) error {
	l.connections.Add(1)
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.serials[state.PeerCertificates[0].SerialNumber.Text(16)] = true
	return nil
}

// work sends reviews, one after the other.
func (l *load) work() {
	for {
		select {
		case <-l.stop:
			return
		default:
		}
		if l.count > 0 && l.next.Add(1) > l.count {
			return
		}
		err := l.send()
		l.mutex.Lock()
		l.result.Sent++
		if err != nil {
			l.result.Failed++
			if len(l.result.Errors) < maxErrors {
				l.result.Errors = append(l.result.Errors, err.Error())
			}
		}
		l.mutex.Unlock()
		if l.pause > 0 {
			time.Sleep(l.pause)
		}
	}
}

// send sends a review, and says what is wrong with its answer.
func (l *load) send() error {
	response, err := l.client.Post(l.url, "application/json", bytes.NewReader(l.body))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", response.Status, body)
	}
	var answer struct {
		Response struct {
			Allowed bool   `json:"allowed"`
			Patch   []byte `json:"patch"`
		} `json:"response"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return err
	}
	if !answer.Response.Allowed || !json.Valid(answer.Response.Patch) {
		return fmt.Errorf("expected allowed and a patch: %s", body)
	}
	return nil
}
