//go:build !linux && !js

package main

// room is memory for a file of that size.
func room(size int) []byte { return make([]byte, size) }
