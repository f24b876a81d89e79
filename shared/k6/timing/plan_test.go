package timing

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A plan that can't be carried out is refused before anything is sent, in words that name the field.
func TestBadPlansAreRefusedByName(t *testing.T) {
	for _, c := range []struct {
		change func(plan map[string]any)
		says   string
	}{
		{func(p map[string]any) { p["mode"] = "soak" }, "mode"},
		{func(p map[string]any) { p["payloads"] = []any{} }, "payloads"},
		{func(p map[string]any) { p["expected"] = []any{"a", "b"} }, "2 expected answers for 1 payloads"},
		{func(p map[string]any) { p["timeout_s"] = 0 }, "timeout_s"},
		{func(p map[string]any) { p["window_s"] = 0 }, "window_s"},
		{func(p map[string]any) { p["client_batch"] = 0 }, "client_batch"},
		{func(p map[string]any) { p["client_batch"] = "many" }, "client_batch"},
		{func(p map[string]any) { p["summary"] = "" }, "summary"},
		{func(p map[string]any) { p["records"] = "" }, "records"},
		{func(p map[string]any) { p["load"] = map[string]any{"kind": "spiky"} }, "load.kind"},
		{func(p map[string]any) { p["load"] = map[string]any{"kind": "closed"} }, "load.users"},
		{func(p map[string]any) { p["load"] = map[string]any{"kind": "open", "arrivals": "even"} }, "load.arrivals"},
		{func(p map[string]any) {
			p["load"] = map[string]any{"kind": "open", "arrivals": "poisson", "max_users": 1}
		}, "load.stages"},
		{func(p map[string]any) {
			p["payloads"] = []any{map[string]any{"name": "gone", "path": "/no/such/file"}}
			p["expected"] = nil
		}, `payload "gone"`},
	} {
		folder := t.TempDir()
		payload := filepath.Join(folder, "a.txt")
		if err := os.WriteFile(payload, []byte("a"), 0o600); err != nil {
			t.Fatal(err)
		}
		plan := map[string]any{
			"mode": "load", "interface": "rest", "client_batch": 1, "seed": 7, "expected": []any{nil},
			"payloads": []any{map[string]any{"name": "a", "path": payload}},
			"load":     map[string]any{"kind": "closed", "users": 1},
			"warmup_s": 0, "window_s": 1, "timeout_s": 1, "records": "r", "answers": "a", "summary": "s",
		}
		path := filepath.Join(folder, "plan.json")
		write := func() {
			text, err := json.Marshal(plan)
			if err == nil {
				err = os.WriteFile(path, text, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		write()
		if _, err := ReadPlan(path); err != nil {
			t.Fatalf("the plan is refused before it is spoilt: %v", err)
		}
		c.change(plan)
		write()
		if _, err := ReadPlan(path); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("said %v, which does not contain %q", err, c.says)
		}
	}
}

// A payload whose text stands in the plan is that text, also an empty one, and no file is looked for.
func TestATextInThePlanIsThePayload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plan.json")
	plan := `{"mode": "check", "timeout_s": 1, "answers": "a", "summary": "s",
		"payloads": [{"name": "greeting", "text": "grüß dich"}, {"name": "nothing", "text": ""}]}`
	if err := os.WriteFile(path, []byte(plan), 0o600); err != nil {
		t.Fatal(err)
	}
	read, err := ReadPlan(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"grüß dich", ""} {
		if got := string(read.Payloads[i].bytes); got != want {
			t.Errorf("payload %d is %q, not %q", i, got, want)
		}
	}
}
