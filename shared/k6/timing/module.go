// Package timing is the k6 module "k6/x/timing": it owns the schedule of a run, sends its requests, stamps them and
// records them. JavaScript supplies each request once and says whether an answer is right.
package timing

import (
	"errors"
	"sync"

	"github.com/grafana/sobek"
	"go.k6.io/k6/v2/errext"
	"go.k6.io/k6/v2/js/common"
	"go.k6.io/k6/v2/js/modules"
)

// exitEvent is k6's event.Exit, whose package is internal: emitted on every way out but a second signal.
const exitEvent = 6

func init() { modules.Register("k6/x/timing", &rootModule{}) }

// rootModule holds what is one a process.
type rootModule struct {
	once   sync.Once
	run    *run
	err    error
	protos protos
}

// NewModuleInstance is called once for each virtual user, and once more to read the script's options.
func (m *rootModule) NewModuleInstance(vu modules.VU) modules.Instance {
	return &module{root: m, vu: vu}
}

// module is one virtual user's view.
type module struct {
	root     *rootModule
	vu       modules.VU
	user     *user
	folder   string // where k6.js is
	payloads []sobek.Value
	parse    sobek.Callable // JSON.parse
}

// Exports is the module's interface for js/study.js, its only caller.
func (m *module) Exports() modules.Exports {
	return modules.Exports{Default: map[string]any{
		"open": m.open, "join": m.join, "exchange": m.exchange, "record": m.record,
	}}
}

// open reads the plan and gives it back as JavaScript sees it, with the number of users it needs.
func (m *module) open(path string) *sobek.Object {
	rt := m.vu.Runtime()
	m.root.once.Do(func() {
		var plan *Plan
		if plan, m.root.err = ReadPlan(path); m.root.err != nil {
			return
		}
		if m.root.run, m.root.err = newRun(plan); m.root.err == nil {
			m.closeAtExit()
		}
	})
	if m.root.err != nil {
		common.Throw(rt, m.root.err)
	}
	if env := m.vu.InitEnv(); env != nil {
		m.folder = env.CWD.Path
	}
	m.parse, _ = sobek.AssertFunction(rt.Get("JSON").ToObject(rt).Get("parse"))
	object := rt.NewObject()
	_ = object.Set("plan", m.json(string(m.root.run.plan.raw)))
	_ = object.Set("users", m.root.run.users)
	return object
}

func (m *module) closeAtExit() {
	_, events := m.vu.Events().Global.Subscribe(exitEvent)
	run := m.root.run
	go func() {
		event, told := <-events
		_ = run.close()
		if told {
			event.Done()
		}
	}()
}

// join makes the user part of the run: it helps to build the requests, and returns when the schedule's clock is set.
func (m *module) join(build sobek.Callable) {
	run := m.root.run
	err := func() (err error) {
		id := int64(m.vu.State().VUID)
		if m.user, err = run.newUser(m.vu.Context(), id); err != nil {
			return err
		}
		err = run.prepare(func(payloads []int) (request, error) {
			description, err := build(sobek.Undefined(), m.payloadsValue(payloads))
			if err != nil {
				return nil, err
			}
			return m.encode(description)
		})
		if err != nil {
			return err
		}
		return run.gather(m.vu.Context().Done())
	}()
	if err != nil {
		m.abort(err)
	}
}

// exchange is the next answer to be checked, for which the user may first have to do its requests; null when the run is over.
func (m *module) exchange() sobek.Value {
	x, err := m.user.exchange()
	if m.user.ctx.Err() != nil {
		return sobek.Null() // k6 was stopped; what is recorded is written at its exit
	}
	if err != nil {
		m.abort(err)
	} else if x != nil {
		return m.turn(x)
	} else if err := m.root.run.leave(); err != nil {
		m.abort(err)
	}
	return sobek.Null()
}

// record ends the user's request with what k6.js made of its answer.
func (m *module) record(value sobek.Value) {
	outcome, err := m.outcome(value)
	if err != nil {
		outcome.fault = err.Error()
	}
	if err := m.user.finish(outcome); err != nil {
		m.abort(err)
	}
}

// abort stops the whole run: k6 says why and exits with code 108.
func (m *module) abort(err error) {
	m.root.run.fail(err)
	if errors.Is(err, errInterrupted) {
		return
	}
	m.vu.Runtime().Interrupt(&errext.InterruptError{Reason: errext.AbortTest + ": " + oneLine(err.Error())})
}

func (m *module) json(text string) sobek.Value {
	value, err := m.parse(sobek.Undefined(), m.vu.Runtime().ToValue(text))
	if err != nil {
		common.Throw(m.vu.Runtime(), err)
	}
	return value
}
