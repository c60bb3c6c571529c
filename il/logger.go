package il

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"github.com/ilref/ilref/il/provenance"
)

// LoggerOptions are what a run decides about its session beside the Config.
type LoggerOptions struct {
	SessionID   string // name of the session's directory; "" for a new UUID (version 4)
	DeviceLabel string // device that all tensors are labelled with ("cuda:0"); "" for the first of DeviceNames, else "cpu"

	// Only, where it is not nil, leaves out the inputs and the outputs that it
	// does not report.
	Only func(step int, module string, call int, d Direction) bool

	// Provenance, where it is not nil, is written into the session when it begins
	// and, with what was recorded, when it ends.
	Provenance *provenance.Record
}

// Logger writes a session while a model runs, as variant A of vLLM's logger
// does: Pre and Post are the hooks of every module, StepDone that of the root.
// It is for one goroutine.
//
// Files are written while the model computes, and a step's are all there when
// StepDone returns. A file appears under its name only when it is whole. The
// first failure, in the order of the calls, sticks: from then on the hooks do
// nothing, and Err, StepDone and Close report it.
type Logger struct {
	cfg    *Config
	opts   LoggerOptions
	dir    string
	device string

	step       int
	counts     map[string]int       // calls of each module in this step
	selections map[string]Selection // by module
	list       callList             // module_calls.txt of this step
	batches    int                  // forwards in this step that Batch was told of
	reload     reloader
	writer     writer

	logged int
	made   maker
}

// NewLogger makes the session's directory, <output_dir>/<id>. A directory that
// is there already must be empty: files would mix.
func NewLogger(cfg *Config, opts LoggerOptions) (*Logger, error) {
	if opts.SessionID == "" {
		id, err := uuid.NewRandom()
		if err != nil {
			return nil, fmt.Errorf("session id: %w", err)
		}
		opts.SessionID = id.String()
	}
	if !fileSafe(opts.SessionID) {
		return nil, fmt.Errorf("session id %q cannot be the name of a directory: expected letters, digits, '.', '_' and '-'", opts.SessionID)
	}
	if opts.DeviceLabel == "" {
		opts.DeviceLabel = "cpu"
		if len(cfg.DeviceNames) > 0 {
			opts.DeviceLabel = cfg.DeviceNames[0]
		}
	}
	if !deviceName.MatchString(opts.DeviceLabel) {
		return nil, fmt.Errorf(`device label %q: expected a device as "cuda:0" or "cpu"`, opts.DeviceLabel)
	}
	l := &Logger{
		cfg: cfg, opts: opts, dir: filepath.Join(cfg.OutputDir, opts.SessionID), device: opts.DeviceLabel,
		counts: map[string]int{}, selections: map[string]Selection{}, reload: reloader{dir: cfg.ReloadInputDir},
	}
	if err := l.reload.check(); err != nil {
		return nil, err
	}
	if err := makeSessionDir(l.dir); err != nil {
		return nil, err
	}
	l.made = maker{dir: l.dir, record: opts.Provenance}
	if err := l.made.begin(cfg, l.device); err != nil {
		return nil, err
	}
	return l, nil
}

// fileSafe reports whether a name can be a directory of its own on any system.
func fileSafe(name string) bool {
	return strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == "" && strings.Trim(name, ".") != ""
}

// Dir returns the session's directory.
func (l *Logger) Dir() string { return l.dir }

// Logged returns how many calls of modules were logged.
func (l *Logger) Logged() int { return l.logged }

// Err returns the first failure of the calls so far, when they are written.
func (l *Logger) Err() error { return l.writer.finish() }

// Warnings tells what did not go as the configuration reads.
func (l *Logger) Warnings() []string {
	var out []string
	if !l.cfg.SelectsDevice(l.device) {
		out = append(out, fmt.Sprintf("device_names (%s) leaves out %s, the device of every tensor: no tensor is written", strings.Join(l.cfg.DeviceNames, ", "), l.device))
	}
	return append(out, l.reload.warnings()...)
}

// Pre is the forward pre-hook of a module: it logs the positional arguments
// and returns those to go on with. They are the same, except with
// reload_input_dir, where logged tensors are replaced by recorded ones.
func (l *Logger) Pre(module string, args Tuple) Tuple {
	if l.writer.hasFailed() || !l.cfg.SelectsStep(l.step) {
		return args
	}
	call := l.counts[module]
	l.counts[module]++
	if !l.selects(module, Inputs, call) {
		return args
	}
	r, err := l.openCall(module, Inputs, call)
	if err != nil {
		l.writer.refuse(err)
		return args
	}
	r.reload = &l.reload
	out, err := r.save(Inputs, args)
	if err != nil {
		l.writer.refuse(err)
		return args
	}
	l.writer.write(r)
	l.logged++
	return out.(Tuple)
}

// Post is the forward hook of a module: it logs what the module returned, and
// with log_post_fwd_inputs the arguments as the forward left them.
func (l *Logger) Post(module string, args Tuple, out Value) {
	if l.writer.hasFailed() || !l.cfg.SelectsStep(l.step) {
		return
	}
	call := l.counts[module] - 1
	if call < 0 || !l.selects(module, Outputs, call) {
		return
	}
	r, err := l.openCall(module, Outputs, call)
	if err == nil {
		_, err = r.save(Outputs, out)
	}
	if err == nil && l.cfg.LogPostFwdInputs {
		_, err = r.save(PostFwdInputs, args)
	}
	if err != nil {
		l.writer.refuse(err)
		return
	}
	l.writer.write(r)
	if !l.selects(module, Inputs, call) {
		l.logged++ // Pre did not
	}
}

// StepDone is the forward hook of the root module: the next step begins. What
// runs between two forwards, as the logits, belongs to the later step.
func (l *Logger) StepDone() error {
	l.begin(l.step + 1)
	return l.Err()
}

// begin ends the current step and makes another one current.
func (l *Logger) begin(step int) {
	l.step, l.batches = step, 0
	clear(l.counts)
	if err := l.list.close(); err != nil {
		l.writer.refuse(err)
	}
}

// Close ends the session of a run that went through, and returns the first
// failure.
func (l *Logger) Close() error { return l.Finish(nil) }

// Finish ends the session of a run that ended with err, nil where it went
// through: what the hooks were given is written by then. It returns err, or the
// first failure of writing.
func (l *Logger) Finish(err error) error {
	if e := l.list.close(); e != nil {
		l.writer.refuse(e)
	}
	if e := l.Err(); err == nil { // which waits for what is being written
		err = e
	}
	if e := l.made.end(err); err == nil {
		err = e
	}
	return err
}

// selects decides whether the inputs or the outputs of a call (0 for the first
// of the step) are logged.
func (l *Logger) selects(module string, d Direction, call int) bool {
	s, ok := l.selections[module]
	if !ok {
		var err error
		if s, err = l.cfg.Select(module); err != nil {
			l.writer.refuse(fmt.Errorf("il config: module_call_match: %w", err))
			return false
		}
		l.selections[module] = s
	}
	return s.Has(d, call) && (l.opts.Only == nil || l.opts.Only(l.step, module, call, d))
}

// openCall begins a call of the current step. What the hook for inputs logs it
// lists in module_calls.txt.
func (l *Logger) openCall(module string, d Direction, call int) (*record, error) {
	if !filepath.IsLocal(module) || strings.ContainsAny(module, `/\`+"\n") {
		return nil, fmt.Errorf("module %q: the name cannot be that of a directory", module)
	}
	name, step := CallName(module, call), fmt.Sprintf("step_%d", l.step)
	if d == Inputs {
		if err := l.list.add(filepath.Join(l.dir, step), name); err != nil {
			return nil, err
		}
	}
	l.reload.call = filepath.Join(step, name)
	return &record{cfg: l.cfg, device: l.device, dir: filepath.Join(l.dir, l.reload.call)}, nil
}
