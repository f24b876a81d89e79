package timing

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"
)

// Plan is what the runner hands to k6: shared/README.md describes each field.
type Plan struct {
	Mode           string            `json:"mode"`
	Interface      string            `json:"interface"`
	Targets        map[string]string `json:"targets"`
	ClientBatch    int               `json:"client_batch"`
	Seed           int64             `json:"seed"`
	Payloads       []Payload         `json:"payloads"`
	Expected       []*string         `json:"expected"`
	Load           Load              `json:"load"`
	WarmupS        float64           `json:"warmup_s"`
	WindowS        float64           `json:"window_s"`
	TimeoutS       float64           `json:"timeout_s"`
	Records        string            `json:"records"`
	Answers        string            `json:"answers"`
	Summary        string            `json:"summary"`
	NewConnections bool              `json:"new_connections"`

	raw []byte // as the file has it: what k6.js sees
}

// Payload is one real input, a file or a text in the plan itself; `bytes` is read once and shared by all users.
type Payload struct {
	Name string  `json:"name"`
	Path string  `json:"path"`
	Text *string `json:"text"`

	bytes []byte
}

// Load is the shape of the load.
type Load struct {
	Kind     string  `json:"kind"`
	Users    int     `json:"users"`
	Arrivals string  `json:"arrivals"`
	MaxUsers int     `json:"max_users"`
	Stages   []Stage `json:"stages"`
}

// Stage is a span of an open load at one rate.
type Stage struct {
	RatePerS float64 `json:"rate_per_s"`
	Seconds  float64 `json:"seconds"`
}

const (
	modeCheck = "check"
	modeLoad  = "load"
	open      = "open"
	closed    = "closed"
)

// ReadPlan reads and checks a plan and its payloads. Its errors name the file and the field.
func ReadPlan(path string) (*Plan, error) {
	if path == "" {
		return nil, errors.New("no plan: start k6 with -e PLAN=/path/of/plan.json (the runner does)")
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("the plan can't be read: %w", err)
	}
	plan := &Plan{ClientBatch: 1, raw: raw}
	if err := json.Unmarshal(raw, plan); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if fault := plan.fault(); fault != "" {
		return nil, fmt.Errorf("%s: %s", path, fault)
	}
	for i := range plan.Payloads {
		payload := &plan.Payloads[i]
		if payload.Text != nil {
			payload.bytes = []byte(*payload.Text)
			continue
		}
		if payload.bytes, err = os.ReadFile(payload.Path); err != nil {
			return nil, fmt.Errorf("%s: payload %q: %w", path, payload.Name, err)
		}
	}
	return plan, nil
}

// fault says what is wrong with the plan, or "".
func (p *Plan) fault() string {
	switch {
	case p.Mode != modeCheck && p.Mode != modeLoad:
		return fmt.Sprintf("mode is %q, not check or load", p.Mode)
	case len(p.Payloads) == 0:
		return "payloads is empty"
	case len(p.Expected) != 0 && len(p.Expected) != len(p.Payloads):
		return fmt.Sprintf("%d expected answers for %d payloads", len(p.Expected), len(p.Payloads))
	case p.TimeoutS <= 0:
		return "timeout_s must be above 0"
	case p.Summary == "":
		return "summary (a path) is missing"
	case p.Mode == modeCheck && p.Answers == "":
		return "answers (a path) is missing"
	case p.Mode == modeCheck:
		return ""
	case p.Records == "":
		return "records (a path) is missing"
	case p.ClientBatch < 1:
		return "client_batch must be at least 1"
	case p.WindowS <= 0 || p.WarmupS < 0:
		return "window_s must be above 0 and warmup_s at least 0"
	}
	return p.Load.fault()
}

func (l Load) fault() string {
	switch l.Kind {
	case closed:
		if l.Users < 1 {
			return "load.users must be at least 1"
		}
	case open:
		if l.Arrivals != "constant" && l.Arrivals != "poisson" {
			return fmt.Sprintf("load.arrivals is %q, not constant or poisson", l.Arrivals)
		}
		if l.MaxUsers < 1 {
			return "load.max_users must be at least 1"
		}
		if len(l.Stages) == 0 {
			return "load.stages is empty"
		}
		for i, stage := range l.Stages {
			if stage.RatePerS < 0 || stage.Seconds <= 0 {
				return fmt.Sprintf("load.stages[%d]: rate_per_s must be at least 0 and seconds above 0", i)
			}
		}
	default:
		return fmt.Sprintf("load.kind is %q, not closed or open", l.Kind)
	}
	return ""
}

// users is the number of virtual users that the plan needs.
func (p *Plan) users() int {
	switch {
	case p.Mode == modeCheck:
		return 1
	case p.Load.Kind == open:
		return p.Load.MaxUsers
	}
	return p.Load.Users
}

func (p *Plan) timeout() time.Duration { return seconds(p.TimeoutS) }

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
