package timing

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A record reads back as it was, whatever a server put into its error: one bare quote or line break would shift all
// the columns after it.
func TestRecordReadsBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.csv")
	r, err := newRecorder(path)
	if err != nil {
		t.Fatal(err)
	}
	r.put(&record{
		vu: 3, slot: 4, payloads: []int{5, 6}, intended: 10, sent: 11, first: 12, done: 13, connect: 1,
		chunks: []int64{12, 13}, tokens: []int64{1, 2}, status: 200, ok: true, units: 1.5, bytes: 9,
	})
	r.put(&record{status: neverAnswered, fault: oneLine("said \"no\",\r\n\xff" + strings.Repeat("x", 500))})
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil || len(rows) != 3 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	want := []string{"3", "4", "5;6", "10", "11", "12", "13", "1", "12;13", "1;2", "200", "true", "1.5", "9", ""}
	if !slices.Equal(rows[1], want) {
		t.Errorf("%q, want %q", rows[1], want)
	}
	if fault := rows[2][14]; !strings.HasPrefix(fault, `said "no", ?xxx`) || len(fault) > errorLimit+10 {
		t.Errorf("the error reads back as %q", fault)
	}
}

// A full disk is an error of the run, not a shorter file that looks whole.
func TestFullDiskIsAnError(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("this system has no /dev/full")
	}
	r, err := newRecorder("/dev/full")
	if err != nil {
		t.Fatal(err)
	}
	for range 1 << 15 { // more than the queue holds: the writer must go on emptying it
		r.put(&record{fault: "x"})
	}
	if err := r.close(); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Fatalf("close says %v", err)
	}
}
