// Command k6 is k6 with the study's timing extension, set up so that it measures itself as little as
// possible: never one P, rare collections, no look at the network beyond the targets.
package main

import (
	"os"
	"runtime"
	"runtime/debug"

	"go.k6.io/k6/v2/cmd"

	_ "study/k6/timing"
)

func main() {
	// With one P a collection holds up every answer by tens of milliseconds.
	if runtime.GOMAXPROCS(0) < 2 {
		runtime.GOMAXPROCS(2)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	// Without these k6 reports its usage and looks for extensions on the internet.
	for name, value := range map[string]string{
		"K6_NO_USAGE_REPORT":           "true",
		"K6_AUTO_EXTENSION_RESOLUTION": "false",
		"K6_NO_THRESHOLDS":             "true",
	} {
		if os.Getenv(name) == "" {
			_ = os.Setenv(name, value)
		}
	}
	cmd.Execute()
}
