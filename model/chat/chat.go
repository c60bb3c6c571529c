// Package chat renders conversations with a model's chat template, the Jinja
// program beside its tokenizer, as transformers' apply_chat_template does
// (transformers 5, utils/chat_template_utils.py): trim_blocks, lstrip_blocks,
// loop controls, raise_exception, strftime_now and a tojson that neither
// escapes HTML nor sorts keys.
//
// gonja parses and evaluates. It is laxer than Jinja and differs from it in
// places, so only what this package has replaced or checked against Jinja is
// offered to a template: a filter, test, method or statement beyond that is an
// error by name, for a wrong prompt is worse than none.
package chat

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/nikolalohinski/gonja/v2/config"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/loaders"
	"github.com/nikolalohinski/gonja/v2/parser"
)

// Options are the variables of a template beside its messages.
type Options struct {
	// BOSToken and EOSToken are the texts of the special tokens, nil where the
	// model has none. A template that names a token which is nil is refused:
	// Jinja would print nothing for it, or fail, as the place may be.
	BOSToken, EOSToken *string
	// AddGenerationPrompt ends the text with the start of the model's turn.
	AddGenerationPrompt bool
	// Now is the time of strftime_now, which dates some system prompts.
	Now time.Time
}

// Error is a template's own refusal of a conversation, raise_exception.
type Error struct{ Message string }

func (e *Error) Error() string { return "the chat template refuses the messages: " + e.Message }

// Render returns the text of a conversation. The error of a template that
// refuses it is an *Error; other errors are of templates that cannot be read
// here, or that fail.
func Render(template string, messages []Message, opts Options) (text string, err error) {
	r := &run{opts: opts, dicts: map[uintptr]*exec.Dict{}}
	defer func() {
		switch p := recover().(type) {
		case nil:
		case raised:
			text, err = "", p.err
			if refused := (*Error)(nil); !errors.As(err, &refused) {
				err = errors.New(oneLine(err.Error()))
			}
		default: // The library is not ours: whatever it trips over is an error.
			text, err = "", fmt.Errorf("the template engine failed: %v", p)
		}
	}()
	if err := r.check(template); err != nil {
		return "", err
	}
	tmpl, err := r.parse(template)
	if err != nil {
		return "", err
	}
	s := &scope{vars: map[string]*exec.Value{}}
	for name, f := range r.functions() {
		s.vars[name] = exec.AsValue(f)
	}
	for name, v := range r.variables(messages) {
		s.vars[name] = exec.ToValue(v)
	}
	w := &writer{run: r}
	if r.render(tmpl.Root().Nodes, s.inner(), w) != onward {
		return "", errors.New("it has break or continue outside of a loop")
	}
	return w.out.String(), nil
}

// run is the state of one rendering.
type run struct {
	opts  Options
	used  budget
	dicts map[uintptr]*exec.Dict // the ordered form of each message
}

// raised is an error on its way to Render. An error that is returned to the
// library may be lost in a test or a condition, or be met again and again;
// Jinja's end the rendering at once.
type raised struct{ err error }

func (r *run) fail(err error) { panic(raised{err}) }

var specialTokens = regexp.MustCompile(`\b(bos|eos)_token\b`)

// check refuses what the library would do wrong, or without bound.
func (r *run) check(template string) error {
	if len(template) > maxTemplate {
		return fmt.Errorf("it has %d bytes: expected at most %d", len(template), maxTemplate)
	}
	for _, name := range specialTokens.FindAllString(template, -1) {
		if name == "bos_token" && r.opts.BOSToken == nil || name == "eos_token" && r.opts.EOSToken == nil {
			return fmt.Errorf("it uses %s, which tokenizer_config.json does not give", name)
		}
	}
	return nil
}

func settings() *config.Config {
	c := config.New()
	c.TrimBlocks, c.LeftStripBlocks = true, true
	return c
}

func (r *run) parse(template string) (*exec.Template, error) {
	template, err := prepare(template)
	if err != nil {
		return nil, err
	}
	const name = "/chat_template"
	loader, err := loaders.NewMemoryLoader(map[string]string{name: template})
	if err != nil {
		return nil, err
	}
	tmpl, err := exec.NewTemplate(name, settings(), loader, &exec.Environment{ControlStructures: exec.NewControlStructureSet(r.statements())})
	if err == nil {
		return tmpl, nil
	}
	var syntax *parser.SyntaxError
	if errors.As(err, &syntax) && syntax.Line > 0 {
		return nil, fmt.Errorf("line %d: %s near %q", syntax.Line, syntax.Message, syntax.Raw)
	}
	// The library quotes the whole template before the cause.
	msg := err.Error()
	if i := strings.LastIndex(msg, template); i >= 0 {
		msg = msg[i+len(template):]
	}
	return nil, errors.New(oneLine(strings.TrimLeft(msg, "': ")))
}

// oneLine shortens a message of the library, which wraps without end.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if parts := strings.Split(s, ": "); len(parts) > 3 {
		s = parts[0] + ": … " + strings.Join(parts[len(parts)-2:], ": ")
	}
	if r := []rune(s); len(r) > 300 {
		s = string(r[:300]) + "…"
	}
	return s
}
