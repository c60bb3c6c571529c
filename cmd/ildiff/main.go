// Ildiff compares two intermediate-logging sessions of one model and names the
// first module whose output differs although its inputs agree.
package main

import (
	"os"

	"github.com/ilref/ilref/internal/cli"
)

func main() {
	os.Exit(cli.Main("ildiff", run))
}
