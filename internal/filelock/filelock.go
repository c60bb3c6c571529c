// Package filelock lets processes take turns at a file or a folder. A lock ends
// with its process, however that ends.
package filelock

import (
	"context"
	"fmt"
	"path/filepath"
	"time"
)

// every is how long a process waits before it asks again.
const every = 20 * time.Millisecond

// Lock waits for its turn at what lies in the folder dir, and returns what ends
// it. Its error is that of ctx, or of a folder that cannot be locked.
func Lock(ctx context.Context, dir string) (unlock func(), err error) {
	for {
		f, got, err := try(filepath.Clean(dir))
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s cannot be locked: %w", dir, err)
		case got:
			return func() { release(f) }, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(every):
		}
	}
}
