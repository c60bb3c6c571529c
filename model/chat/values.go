package chat

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/nikolalohinski/gonja/v2/exec"
)

// Message is a turn of a conversation: a JSON object with at least a role and
// a content.
type Message struct {
	fields *exec.Dict
}

// undefined is what a message has not. A nil pointer prints as nothing and is
// false, as Jinja's Undefined, and yet can be told from null.
type undefined struct{}

// null is JSON's null, or a variable that is None.
type null struct{}

// object is a message as the template sees it.
type object map[string]any

// GetItem implements exec.ItemGetter.
func (o object) GetItem(key any) (*exec.Value, bool) {
	if k, ok := key.(string); ok {
		if v, ok := o[k]; ok {
			return exec.ToValue(v), true
		}
	}
	return exec.AsValue((*undefined)(nil)), true
}

// list indexes as Python's does; the library's own index -len is not found.
type list []any

// GetItem implements exec.ItemGetter.
func (l list) GetItem(key any) (*exec.Value, bool) {
	i, ok := key.(int)
	if !ok {
		return exec.AsValue((*undefined)(nil)), true
	}
	if i < 0 {
		i += len(l)
	}
	if i < 0 || i >= len(l) {
		return exec.AsValue((*undefined)(nil)), true
	}
	return exec.ToValue(l[i]), true
}

// asList turns any list of the library into ours.
func (r *run) asList(v *exec.Value) (list, bool) {
	if l, ok := v.Interface().(list); ok {
		return l, true
	}
	if !v.IsList() {
		return nil, false
	}
	r.elements(v.Len())
	l := make(list, v.Len())
	for i := range l {
		l[i] = v.Index(i).Interface()
	}
	return l, true
}

// ParseMessages reads a JSON list of messages: objects with a role that is a
// text, and a content that is a text. What else they have is the template's.
func ParseMessages(raw jsontext.Value) ([]Message, error) {
	v, err := fromJSON(raw)
	if err != nil {
		return nil, err
	}
	l, ok := v.(list)
	if !ok {
		return nil, errors.New(`expected a list of messages such as [{"role": "user", "content": "Hello"}]`)
	}
	if len(l) == 0 {
		return nil, errors.New("the list of messages is empty")
	}
	messages := make([]Message, len(l))
	for i, v := range l {
		d, ok := v.(*exec.Dict)
		if !ok {
			return nil, fmt.Errorf(`message %d: expected an object such as {"role": "user", "content": "Hello"}`, i)
		}
		if err := checkMessage(d); err != nil {
			return nil, fmt.Errorf("message %d: %w", i, err)
		}
		messages[i] = Message{d}
	}
	return messages, nil
}

func checkMessage(d *exec.Dict) error {
	fields := map[string]any{}
	for _, p := range d.Pairs {
		fields[p.Key.String()] = p.Value.Interface()
	}
	if _, ok := fields["role"].(string); !ok {
		return errors.New(`expected a "role" that is a text`)
	}
	if _, ok := fields["content"].(string); !ok {
		return errors.New(`expected a "content" that is a text`)
	}
	return nil
}

// fromJSON gives the template's form of a JSON value. Objects keep the order
// of their names.
func fromJSON(raw jsontext.Value) (any, error) {
	dec := jsontext.NewDecoder(reader(raw))
	v, err := decode(dec)
	if err != nil {
		return nil, err
	}
	if dec.InputOffset() < int64(len(raw)) {
		if _, err := dec.ReadToken(); err == nil {
			return nil, errors.New("there is more after the JSON value")
		}
	}
	return v, nil
}

func decode(dec *jsontext.Decoder) (any, error) {
	tok, err := dec.ReadToken()
	if err != nil {
		return nil, err
	}
	switch tok.Kind() {
	case 'n':
		return (*null)(nil), nil
	case 't', 'f':
		return tok.Bool(), nil
	case '"':
		return tok.String(), nil
	case '0':
		return number(tok.String())
	case '[':
		l := list{}
		for dec.PeekKind() != ']' {
			v, err := decode(dec)
			if err != nil {
				return nil, err
			}
			l = append(l, v)
		}
		_, err := dec.ReadToken()
		return l, err
	}
	d := exec.NewDict()
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return nil, err
		}
		key := exec.AsValue(name.String())
		v, err := decode(dec)
		if err != nil {
			return nil, err
		}
		d.Pairs = append(d.Pairs, &exec.Pair{Key: key, Value: exec.AsValue(v)})
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	if len(d.Pairs) == 0 {
		return map[string]any{}, nil // an empty Dict would be true
	}
	return d, nil
}

// number keeps Python's difference of int and float.
func number(s string) (any, error) {
	if i, err := strconv.Atoi(s); err == nil {
		return i, nil
	}
	for _, c := range s {
		if c == '.' || c == 'e' || c == 'E' {
			return strconv.ParseFloat(s, 64)
		}
	}
	return nil, fmt.Errorf("the number %s is out of range", s)
}

// variables are what a template can name.
func (r *run) variables(messages []Message) map[string]any {
	l := make(list, len(messages))
	for i, m := range messages {
		o := object{}
		for _, p := range m.fields.Pairs {
			o[p.Key.String()] = p.Value.Interface()
		}
		r.dicts[reflect.ValueOf(o).Pointer()] = m.fields
		l[i] = o
	}
	vars := map[string]any{
		"messages":              l,
		"tools":                 (*null)(nil),
		"documents":             (*null)(nil),
		"add_generation_prompt": r.opts.AddGenerationPrompt,
	}
	if t := r.opts.BOSToken; t != nil {
		vars["bos_token"] = *t
	}
	if t := r.opts.EOSToken; t != nil {
		vars["eos_token"] = *t
	}
	return vars
}
