//go:build !linux

package main

import "os/exec"

// withoutNetwork is for systems that can't take a process's network away.
func withoutNetwork(*exec.Cmd) bool { return false }
