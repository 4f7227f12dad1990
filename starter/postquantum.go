package main

import (
	"fmt"

	"github.com/countersign-dev/countersign/evidence"
)

// postQuantumKeys reads the keys that a bundle's post-quantum signature must be by.
func postQuantumKeys(files []string) ([]*evidence.PostQuantumKey, error) {
	var keys []*evidence.PostQuantumKey
	for _, file := range files {
		text, err := readBounded(file, 64<<10)
		if err != nil {
			return nil, fmt.Errorf("--pq-key: %w", err)
		}
		key, err := evidence.ParsePostQuantumPEM(text)
		if err != nil {
			return nil, usage("--pq-key: %s: %w", file, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}
