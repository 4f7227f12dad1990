//go:build !unix

package spool

import (
	"errors"
	"os"
)

var errSystem = errors.New("workers and the API run on Linux, macOS and BSD, and not on this system")

func mapFile(*os.File, int) ([]byte, error) { return nil, errSystem }

func unmapFile([]byte) error { return errSystem }
