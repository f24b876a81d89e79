package timing

import (
	"slices"
	"testing"
)

// Wherever the network cuts the stream, the same events come out. A parser that looks for "\n\n" in one read loses or
// doubles chunks at such cuts, and every figure of a stream with them.
func TestEventsSurviveEveryCut(t *testing.T) {
	const stream = "\n: comment\nevent: x\ndata: one\n\ndata:two\r\ndata: lines\r\n\r\nid: 4\n\ndata\n\rdata: é \n\ndata: unfinished"
	want := []string{"one", "two\nlines", "", "é "}
	for cut := range len(stream) {
		for _, second := range []int{cut, (cut + len(stream)) / 2} {
			var parser eventParser
			var got []string
			for _, piece := range []string{stream[:cut], stream[cut:second], stream[second:]} {
				parser.feed([]byte(piece), func(data []byte) { got = append(got, string(data)) })
			}
			if !slices.Equal(got, want) {
				t.Fatalf("cut at %d and %d: %q, want %q", cut, second, got, want)
			}
		}
	}
}
