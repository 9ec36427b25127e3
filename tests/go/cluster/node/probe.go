package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"
)

// probe asks what the container's probes say until the context ends: first the startup probe alone,
// then readiness, which is told on, and liveness, whose failure is.
func (p *pod) probe(ctx context.Context, unhealthy chan<- string, ready func(bool)) {
	container := p.spec.Containers[0]
	if startup := container.StartupProbe; startup != nil {
		succeeded := false
		p.repeat(ctx, startup, func(healthy bool, why string) bool {
			if !healthy {
				unhealthy <- "startup probe: " + why
			}
			succeeded = healthy
			return false
		})
		if !succeeded {
			return
		}
	}
	if container.ReadinessProbe == nil {
		ready(true)
	} else {
		go p.repeat(ctx, container.ReadinessProbe, func(healthy bool, _ string) bool {
			ready(healthy)
			return true
		})
	}
	if container.LivenessProbe != nil {
		p.repeat(ctx, container.LivenessProbe, func(healthy bool, why string) bool {
			if !healthy {
				unhealthy <- "liveness probe: " + why
			}
			return healthy
		})
	}
}

// repeat asks a probe each period and tells what its thresholds make of the answers, until told to
// stop.
func (p *pod) repeat(ctx context.Context, each *probe, tell func(healthy bool, why string) bool) {
	successes, failures := 0, 0
	wait := time.Duration(each.InitialDelaySeconds) * time.Second
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = time.Duration(each.PeriodSeconds) * time.Second
		err := p.ask(ctx, each)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			successes, failures = successes+1, 0
		} else {
			successes, failures = 0, failures+1
		}
		goOn := true
		if successes >= max(1, each.SuccessThreshold) {
			goOn = tell(true, "")
		} else if failures >= max(1, each.FailureThreshold) {
			goOn = tell(false, fmt.Sprint(err))
		}
		if !goOn {
			return
		}
	}
}

// ask makes a probe's request from the node, once.
func (p *pod) ask(ctx context.Context, each *probe) error {
	if scheme := each.HTTPGet.Scheme; scheme != "HTTP" {
		return fmt.Errorf("this node does not probe over %q", scheme)
	}
	port, err := p.port(each.HTTPGet.Port)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(max(1, each.TimeoutSeconds))*time.Second)
	defer cancel()
	url := "http://" + net.JoinHostPort(p.ip, port) + each.HTTPGet.Path
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	_ = response.Body.Close()
	if response.StatusCode < 200 || response.StatusCode >= 400 {
		return fmt.Errorf("%s answered %s", url, response.Status)
	}
	return nil
}

// port is a probe's port, which is a number or the name of one of the container's.
func (p *pod) port(of any) (string, error) {
	if number, ok := of.(float64); ok {
		return strconv.Itoa(int(number)), nil
	}
	for _, port := range p.spec.Containers[0].Ports {
		if port.Name == of {
			return strconv.Itoa(int(port.ContainerPort)), nil
		}
	}
	return "", fmt.Errorf("the container has no port %v", of)
}
