package model

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
)

const (
	// digestWeights is how many weights are looked into, spread over all.
	digestWeights = 64
	// digestPart is how much of each: its first and its last bytes.
	digestPart = 4 << 10
)

// Digest identifies the checkpoint wherever it lies: SHA-256 of config.json, of
// the names, types and shapes of all weights, and of parts of some.
func (c *Checkpoint) Digest() (string, error) {
	h := sha256.New()
	f, err := c.fsys.Open("config.json")
	if err != nil {
		return "", fmt.Errorf("%s: %w", c.Name, err)
	}
	_, err = io.Copy(h, f)
	if f.Close(); err != nil {
		return "", fmt.Errorf("%s: %w", c.Name, err)
	}
	names := c.weights.names()
	every := max(1, (len(names)+digestWeights-1)/digestWeights)
	for i, name := range names {
		t, _, err := c.weights.tensor(name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%q %s %v ", name, t.DType, t.Shape)
		if i%every == 0 {
			h.Write(t.Data[:min(digestPart, len(t.Data))])
			h.Write(t.Data[max(0, len(t.Data)-digestPart):])
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
