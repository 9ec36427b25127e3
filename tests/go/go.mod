// The tools in Go that the integration tests run, to compare with what the kubelet uses itself.
module image-swapper/tests

go 1.26

require github.com/distribution/reference v0.6.0

require github.com/opencontainers/go-digest v1.0.0 // indirect
