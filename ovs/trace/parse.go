package trace

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Parse reads the output of ofproto/trace. An error says that it is not one, or
// that it is cut off.
func Parse(text string) (*Trace, error) {
	p := parser{trace: &Trace{Raw: text, Passes: []Pass{{}}}}
	for line := range strings.Lines(text) {
		if err := p.line(strings.TrimRight(line, "\r\n")); err != nil {
			return nil, fmt.Errorf("line %q: %w", strings.TrimSpace(line), err)
		}
	}
	if err := p.endPass(); err != nil {
		return nil, err
	}
	t, last := p.trace, p.pass()
	t.FinalFlow, t.Megaflow, t.DatapathActions = last.FinalFlow, last.Megaflow, last.DatapathActions
	t.Final = final(t.Passes, p.outputs)
	return t, nil
}

// parser holds what a line's meaning depends on.
//
// The text is a tree printed by indentation: the steps of a pass, below a step
// its actions, and below a resubmit action or at the end of the list the step
// that it leads to. The last step of a list is not indented further than its
// parent, so that goto_table makes a flat list.
type parser struct {
	trace *Trace
	// outputs are the OpenFlow ports that actions of each pass name.
	outputs [][]uint32
	// recorded is true if the last action added to outputs.
	recorded bool
	// bridge is the one that the current step belongs to.
	bridge string
	// open are the steps whose list of actions may go on, the innermost last.
	open []openStep
	// heading is true between the two lines of "=" before a pass.
	heading bool
	// ended is true after the "Datapath actions" of a pass.
	ended bool
}

type openStep struct {
	indent int
	index  int // in trace.Steps
	// groups are the groups among the step's actions, whose buckets come next.
	groups []uint32
}

func (p *parser) pass() *Pass { return &p.trace.Passes[len(p.trace.Passes)-1] }

var (
	stepLine   = regexp.MustCompile(`^( *)(\d{1,3})\. (.*)$`)
	bucketLine = regexp.MustCompile(`^bucket (\d+)$`)
	recircLine = regexp.MustCompile(`^recirc\((0x[0-9a-f]+)\) - (.*)$`)
)

func (p *parser) line(line string) error {
	text := strings.TrimSpace(line)
	switch {
	case text == "":
		return nil
	case strings.HasPrefix(text, "==="):
		return p.rule()
	case p.heading:
		return p.headingLine(text)
	}
	if key, value, ok := strings.Cut(line, ": "); ok {
		switch pass := p.pass(); key {
		case "Flow":
			pass.Flow = value
			return nil
		case "Final flow":
			if pass.FinalFlow = value; value == "unchanged" {
				pass.FinalFlow = pass.Flow
			}
			return nil
		case "Megaflow":
			pass.Megaflow = value
			return nil
		case "Datapath actions":
			pass.DatapathActions = value
			p.ended = true
			return nil
		}
	}
	if p.ended {
		p.remark(text)
		return nil
	}
	return p.body(line, text)
}

// rule handles a line of "=": the first begins a new pass with its heading, the
// second ends the heading.
func (p *parser) rule() error {
	if p.heading {
		p.heading = false
		return nil
	}
	if err := p.endPass(); err != nil {
		return err
	}
	p.trace.Passes = append(p.trace.Passes, Pass{})
	p.heading, p.ended, p.open, p.bridge = true, false, nil, ""
	return nil
}

// endPass checks that the pass has all its parts.
func (p *parser) endPass() error {
	switch pass := p.pass(); {
	case p.heading:
		return errors.New("cut off within a heading")
	case pass.Flow == "":
		return errors.New("no flow: not a trace")
	case !p.ended:
		return errors.New("no datapath actions: cut off")
	}
	for len(p.outputs) < len(p.trace.Passes) {
		p.outputs = append(p.outputs, nil)
	}
	return nil
}

func (p *parser) headingLine(text string) error {
	pass := p.pass()
	m := recircLine.FindStringSubmatch(text)
	if m == nil {
		p.translation(text)
		return nil
	}
	id, err := strconv.ParseUint(m[1], 0, 32)
	if err != nil {
		return fmt.Errorf("recirculation id: %w", err)
	}
	pass.RecircID, pass.Reason = uint32(id), m[2]
	return nil
}

// translation reads what NAT is taken to have done; without a change there is
// none.
func (p *parser) translation(text string) {
	pass := p.pass()
	if before, ok := strings.CutPrefix(text, "Initial flow:"); ok {
		if before = strings.TrimSpace(before); before != "" {
			pass.Translation = &Translation{Before: before}
		}
		return
	}
	if after, ok := strings.CutPrefix(text, "Modified flow:"); ok {
		if pass.Translation != nil {
			pass.Translation.After = strings.TrimSpace(after)
		}
		return
	}
	if !strings.HasPrefix(text, "Replacing src/dst") {
		pass.Notes = append(pass.Notes, text)
	}
}

// remark handles what follows a pass: why it takes the slow path, or that the
// translation failed.
func (p *parser) remark(text string) {
	pass := p.pass()
	pass.Notes = append(pass.Notes, text)
	if strings.HasPrefix(text, "Translation failed") {
		p.trace.Errors = append(p.trace.Errors, text)
	}
}

// body handles a line of the tree.
func (p *parser) body(line, text string) error {
	if name, ok := strings.CutPrefix(text, `bridge("`); ok {
		p.bridge = strings.TrimSuffix(name, `")`)
		return nil
	}
	if strings.Trim(text, "-") == "" {
		return nil // the line under a bridge
	}
	if m := stepLine.FindStringSubmatch(line); m != nil {
		if step, err := parseStep(m[2], m[3]); err != nil {
			return err
		} else if step != nil {
			// The number is printed two characters wide.
			p.push(len(m[1])+min(0, len(m[2])-2), *step)
			return nil
		}
	}
	indent := len(line) - len(strings.TrimLeft(line, " "))
	p.pop(indent)
	if len(p.open) == 0 {
		return nil // how the packet was thawed
	}
	open := &p.open[len(p.open)-1]
	step := &p.trace.Steps[open.index]
	if m := bucketLine.FindStringSubmatch(text); m != nil {
		return open.choose(step, m[1])
	}
	switch {
	case strings.HasPrefix(text, "->"), strings.HasPrefix(text, ">>"), strings.HasPrefix(text, "conj."):
		note := strings.TrimSpace(strings.Trim(text, "-><"))
		step.Notes = append(step.Notes, note)
		p.note(text, note)
	case text == "drop" && len(step.Actions) > 0 && strings.HasPrefix(step.Actions[len(step.Actions)-1], "ct("):
		// The empty list of actions nested in ct(), not a drop.
	default:
		step.Actions = append(step.Actions, text)
		open.action(step, text)
		p.action(text)
	}
	return nil
}

// choose begins the bucket that a group led to.
func (o *openStep) choose(step *Step, bucket string) error {
	n, err := strconv.ParseUint(bucket, 10, 32)
	if err != nil {
		return fmt.Errorf("bucket: %w", err)
	}
	c := Choice{Bucket: uint32(n)}
	if len(o.groups) > 0 {
		c.Group = o.groups[len(o.groups)-1]
	}
	step.Choices = append(step.Choices, c)
	return nil
}

// action notes an action that may be a bucket's, or a group.
func (o *openStep) action(step *Step, text string) {
	if n := len(step.Choices); n > 0 {
		step.Choices[n-1].Actions = append(step.Choices[n-1].Actions, text)
	}
	if number, ok := strings.CutPrefix(text, "group:"); ok {
		if n, err := strconv.ParseUint(number, 10, 32); err == nil {
			o.groups = append(o.groups, uint32(n))
		}
	}
}

// push begins a step at an indentation.
func (p *parser) push(indent int, step Step) {
	p.pop(indent)
	step.Recirc = len(p.trace.Passes) - 1
	step.Bridge = p.bridge
	p.open = append(p.open, openStep{indent: indent, index: len(p.trace.Steps)})
	p.trace.Steps = append(p.trace.Steps, step)
}

// pop ends the steps that a line at this indentation does not belong to.
func (p *parser) pop(indent int) {
	for len(p.open) > 0 && p.open[len(p.open)-1].indent >= indent {
		p.open = p.open[:len(p.open)-1]
	}
}

// parseStep reads what follows a step's table number. It returns nil if that is
// not a lookup.
func parseStep(table, text string) (*Step, error) {
	n, err := strconv.ParseUint(table, 10, 8)
	if err != nil {
		return nil, fmt.Errorf("table: %w", err)
	}
	step := &Step{Table: uint8(n)}
	if strings.HasPrefix(text, "No match") || strings.HasPrefix(text, "Packets are IP fragments") {
		step.Miss = true
		step.Notes = []string{text}
		return step, nil
	}
	parts := strings.Split(text, ", ")
	if cookie, ok := strings.CutPrefix(parts[len(parts)-1], "cookie "); ok {
		if step.Cookie, err = strconv.ParseUint(cookie, 0, 64); err != nil {
			return nil, fmt.Errorf("cookie: %w", err)
		}
		parts = parts[:len(parts)-1]
	}
	if len(parts) == 0 {
		return nil, nil
	}
	priority, ok := strings.CutPrefix(parts[len(parts)-1], "priority ")
	if !ok {
		return nil, nil
	}
	if step.Priority, err = strconv.Atoi(priority); err != nil {
		return nil, fmt.Errorf("priority: %w", err)
	}
	step.Match = strings.Join(parts[:len(parts)-1], ", ")
	return step, nil
}
