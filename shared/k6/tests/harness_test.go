// Package tests runs the real k6, built from this folder, against a null server in this process, and compares what k6
// recorded with what the server did.
package tests

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"study/k6/nullserver"
)

var k6 string // the built binary

func TestMain(m *testing.M) {
	folder, err := os.MkdirTemp("", "k6-tests")
	if err != nil {
		panic(err)
	}
	k6 = filepath.Join(folder, "k6")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", k6, "..")
	if said, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building k6: %v\n%s", err, said)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(folder)
	os.Exit(code)
}

// object is JSON that a test writes.
type object = map[string]any

// row is one line of the raw record.
type row struct {
	vu, slot                             int64
	payloads                             []int64
	intended, sent, first, done, connect int64
	chunks, tokens                       []int64
	status                               int64
	ok                                   bool
	request                              int64 // the server's number of it, which k6.js returns as its units
	bytes                                int64
	fault                                string
}

func (r row) dropped() bool { return r.fault == "dropped" }

// result is what one k6 run left behind.
type result struct {
	code           int
	stdout, stderr string
	rows           []row // by slot
	summary        struct {
		Start    int64  `json:"window_start_ns"`
		End      int64  `json:"window_end_ns"`
		Planned  int64  `json:"slots_planned"`
		Dropped  int64  `json:"slots_dropped"`
		Requests int64  `json:"requests"`
		Version  string `json:"k6_version"`
		Ps       int    `json:"gomaxprocs"`
	}
	answers []struct {
		Payload string
		Answer  any
		Error   *string
	}
}

func start(t *testing.T, settings nullserver.Settings) *nullserver.Server {
	t.Helper()
	server, err := nullserver.Start(settings, "127.0.0.1:0", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server
}

// planFor is a plan with three payloads, changed as the test says.
func planFor(t *testing.T, server *nullserver.Server, changes object) object {
	t.Helper()
	folder := t.TempDir()
	var payloads []object
	for i, name := range []string{"one", "two", "three"} {
		path := filepath.Join(folder, name+".txt")
		write(t, path, []byte(strings.Repeat("x", payloadSize(i))))
		payloads = append(payloads, object{"name": name, "path": path})
	}
	plan := object{
		"mode": "load", "interface": "http", "targets": object{"http": server.HTTP, "grpc": server.GRPC},
		"model": "null", "request": object{}, "client_batch": 1, "seed": 7,
		"payloads": payloads, "expected": []any{"word", nil, "word"},
		"load": object{"kind": "closed", "users": 1}, "warmup_s": 0, "window_s": 1, "timeout_s": 5,
		"records": filepath.Join(folder, "records.csv"), "answers": filepath.Join(folder, "answers.ndjson"),
		"summary": filepath.Join(folder, "k6.json"),
	}
	for name, value := range changes {
		plan[name] = value
	}
	return plan
}

// payloadSize tells payloads, and sums of them, apart.
func payloadSize(i int) int { return 100 << i }

// run executes a plan as the runner does.
func run(t *testing.T, plan object) result {
	t.Helper()
	return finish(t, plan, begin(t, plan))
}

type running struct {
	command        *exec.Cmd
	stdout, stderr strings.Builder
}

func begin(t *testing.T, plan object) *running {
	t.Helper()
	watchSources()
	text, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "plan.json")
	write(t, path, text)
	r := &running{command: exec.Command(k6, "run", "--quiet", "--no-usage-report", "--summary-mode=disabled",
		"--address", "", "-e", "PLAN="+path, "k6.js")}
	r.command.Stdout, r.command.Stderr = &r.stdout, &r.stderr
	if err := r.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if r.command.ProcessState == nil {
			_ = r.command.Process.Kill()
			_ = r.command.Wait()
		}
	})
	return r
}

// watchSources looks at what k6 is built from: go repeats a cached verdict unless a file changed that a test looked at.
var watchSources = sync.OnceFunc(func() {
	for _, pattern := range []string{"../*.*", "../timing/*", "../clock/*", "../js/*", "*.js"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			_, _ = os.Stat(file)
		}
	}
})

// finish waits for k6 and reads what it wrote.
func finish(t *testing.T, plan object, r *running) (out result) {
	t.Helper()
	hung := time.AfterFunc(2*time.Minute, func() { _ = r.command.Process.Kill() })
	defer hung.Stop()
	_ = r.command.Wait()
	out.code, out.stdout, out.stderr = r.command.ProcessState.ExitCode(), r.stdout.String(), r.stderr.String()
	out.rows = readRows(t, plan["records"].(string))
	if text, err := os.ReadFile(plan["summary"].(string)); err == nil {
		if err := json.Unmarshal(text, &out.summary); err != nil {
			t.Fatalf("summary: %v", err)
		}
	}
	if text, err := os.ReadFile(plan["answers"].(string)); err == nil {
		decoder := json.NewDecoder(strings.NewReader(string(text)))
		for decoder.More() {
			out.answers = append(out.answers, struct {
				Payload string
				Answer  any
				Error   *string
			}{})
			if err := decoder.Decode(&out.answers[len(out.answers)-1]); err != nil {
				t.Fatalf("answers: %v", err)
			}
		}
	}
	return out
}

// healthy is a run that must end well, without a word, and leave records; it refuses anything less.
func healthy(t *testing.T, plan object) result {
	t.Helper()
	out := run(t, plan)
	if out.code != 0 || out.stdout != "" || out.stderr != "" {
		t.Fatalf("k6 exited with code %d\nstdout: %s\nstderr: %s", out.code, out.stdout, out.stderr)
	}
	if len(out.rows) == 0 {
		t.Fatal("no records")
	}
	if out.summary.Ps < 2 || out.summary.Version != "v2.2.0" {
		t.Fatalf("summary: %+v", out.summary)
	}
	if sent := int64(len(out.rows)) - out.summary.Dropped; out.summary.Requests != sent {
		t.Fatalf("the summary counts %d requests, %d were sent", out.summary.Requests, sent)
	}
	return out
}

func readRows(t *testing.T, path string) (rows []row) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer func() { _ = file.Close() }()
	lines, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatalf("records: %v", err)
	}
	if len(lines) == 0 {
		return nil
	}
	column := func(line []string, name string) string { return line[slices.Index(lines[0], name)] }
	for _, line := range lines[1:] {
		number := func(name string) int64 {
			n, err := strconv.ParseInt(column(line, name), 10, 64)
			if err != nil {
				t.Fatalf("records: %s: %v", name, err)
			}
			return n
		}
		list := func(name string) (numbers []int64) {
			for word := range strings.SplitSeq(column(line, name), ";") {
				if n, err := strconv.ParseInt(word, 10, 64); err == nil {
					numbers = append(numbers, n)
				}
			}
			return numbers
		}
		rows = append(rows, row{
			vu: number("vu"), slot: number("slot"), payloads: list("payloads"), intended: number("intended_ns"),
			sent: number("sent_ns"), first: number("first_ns"), done: number("done_ns"),
			connect: number("connect_ns"), chunks: list("chunk_ns"), tokens: list("chunk_tokens"),
			status: number("status"), ok: column(line, "ok") == "true", request: number("units"),
			bytes: number("bytes"), fault: column(line, "error"),
		})
	}
	slices.SortFunc(rows, func(a, b row) int { return int(a.slot - b.slot) })
	return rows
}

// entries is the server's record by request number; it refuses an empty one.
func entries(t *testing.T, server *nullserver.Server) map[int64]nullserver.Entry {
	t.Helper()
	byNumber := map[int64]nullserver.Entry{}
	for _, entry := range server.Log.Entries() {
		byNumber[entry.Request] = entry
	}
	if len(byNumber) == 0 {
		t.Fatal("the server saw no request")
	}
	return byNumber
}

func connectionsIn(server map[int64]nullserver.Entry) int {
	distinct := map[int64]bool{}
	for _, entry := range server {
		distinct[entry.Connection] = true
	}
	return len(distinct)
}

// median of values in ns; it refuses too few.
func median(t *testing.T, values []int64) time.Duration {
	t.Helper()
	if len(values) < 10 {
		t.Fatalf("only %d values", len(values))
	}
	values = slices.Sorted(slices.Values(values))
	return time.Duration(values[len(values)/2])
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
