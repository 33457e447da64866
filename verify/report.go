package verify

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cleave-video/cleave/internal/plain"
)

// Finding is one place where a rule is broken.
type Finding struct {
	Rule     string   `json:"rule"`
	Severity Severity `json:"severity"`
	Place
	Text string `json:"text"`
	// At is when it was seen, in a live check.
	At time.Time `json:"at,omitzero"`
	// More counts further places in the same rendition that are not listed.
	More int `json:"more,omitempty"`
}

// Place is where something stands. What does not apply is 0 or empty.
type Place struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`   // of a text
	Box    string `json:"box,omitempty"`    // path of a box
	Offset int64  `json:"offset,omitempty"` // of the box in the file
	Packet int64  `json:"packet,omitempty"` // of a transport stream, from 1; its offset is 188 (Packet - 1)
	group  string // findings of a rule are counted by it: the rendition
}

func (p Place) String() string {
	s := p.File
	if p.Line > 0 {
		s += fmt.Sprintf(":%d", p.Line)
	}
	if p.Box != "" {
		s += fmt.Sprintf(" %s at byte %d", p.Box, p.Offset)
	}
	if p.Packet > 0 {
		s += fmt.Sprintf(" packet %d at byte %d", p.Packet, (p.Packet-1)*188)
	}
	return s
}

// Report is what a check found.
type Report struct {
	Input    string    `json:"input"`
	Kind     string    `json:"kind"` // "hls", "dash", "hls+dash", "ts"
	Findings []Finding `json:"findings"`
	// Checked counts how often each rule had something to look at.
	Checked map[string]int `json:"checked"`
	// Notes say what was left out, and why.
	Notes     []string      `json:"notes,omitempty"`
	Playlists int           `json:"playlists"`
	Segments  int           `json:"segments"`
	Bytes     int64         `json:"bytes"`
	Watched   time.Duration `json:"watched_ns,omitempty"`
	Timeline  *Timeline     `json:"timeline,omitempty"` // of a live check
}

// Count returns how many findings have a severity, those not listed included.
func (r *Report) Count(s Severity) int {
	n := 0
	for i := range r.Findings {
		if r.Findings[i].Severity == s {
			n += 1 + r.Findings[i].More
		}
	}
	return n
}

// listed is how many findings of one rule and rendition are listed.
const listed = 3

// recorder gathers findings. It is safe for concurrent use.
type recorder struct {
	mu     sync.Mutex
	report *Report
	rules  map[string]Rule
	counts map[string]int   // of findings, by rule and group
	lists  map[string][]int // of the listed ones; the last one counts the rest
	now    func() time.Time
}

func newRecorder(input string) *recorder {
	r := &recorder{
		report: &Report{Input: input, Checked: map[string]int{}}, rules: map[string]Rule{}, counts: map[string]int{}, lists: map[string][]int{},
	}
	for _, rule := range rules() {
		r.rules[rule.ID] = rule
	}
	return r
}

// saw notes that rules had something to look at.
func (r *recorder) saw(ids ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		if _, ok := r.rules[id]; !ok {
			panic("verify: no rule " + id)
		}
		r.report.Checked[id]++
	}
}

// count adds to what was read.
func (r *recorder) count(playlists, segments, bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Playlists += playlists
	r.report.Segments += segments
	r.report.Bytes += int64(bytes)
}

// find notes that a rule is broken.
func (r *recorder) find(id string, at Place, format string, args ...any) {
	r.add(id, r.rules[id].Severity, at, format, args...)
}

// should notes that the weaker part of a rule is broken.
func (r *recorder) should(id string, at Place, format string, args ...any) {
	r.add(id, Should, at, format, args...)
}

func (r *recorder) add(id string, s Severity, at Place, format string, args ...any) {
	r.saw(id)
	r.mu.Lock()
	defer r.mu.Unlock()
	group := at.group
	if group == "" {
		group = at.File
	}
	key := id + " " + string(s) + " " + group
	at.File = plain.Text(at.File) // like the text, what a stranger wrote
	f, list := Finding{Rule: id, Severity: s, Place: at, Text: plain.Text(fmt.Sprintf(format, args...))}, r.lists[key]
	if r.now != nil {
		f.At = r.now()
		for _, i := range list {
			if g := &r.report.Findings[i]; g.Place == f.Place && g.Text == f.Text {
				return // the next version of a text has the same fault
			}
		}
	}
	if r.counts[key]++; r.counts[key] > listed {
		r.report.Findings[list[len(list)-1]].More++
		return
	}
	r.lists[key] = append(list, len(r.report.Findings))
	r.report.Findings = append(r.report.Findings, f)
}

func (r *recorder) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := plain.Text(fmt.Sprintf(format, args...)); !slices.Contains(r.report.Notes, s) && len(r.report.Notes) < 100 {
		r.report.Notes = append(r.report.Notes, s)
	}
}

// done sorts the findings: MUST first, then in the order of the catalogue.
func (r *recorder) done() *Report {
	order := map[string]int{}
	for i, rule := range rules() {
		order[rule.ID] = i
	}
	slices.SortStableFunc(r.report.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Severity, b.Severity), cmp.Compare(order[a.Rule], order[b.Rule]))
	})
	return r.report
}

// Print writes the report for a person.
func (r *Report) Print(w io.Writer) error {
	var b strings.Builder
	rule := map[string]Rule{}
	for _, x := range rules() {
		rule[x.ID] = x
	}
	for i := 0; i < len(r.Findings); {
		f := &r.Findings[i]
		fmt.Fprintf(&b, "%-6s %-4s %s (%s)\n", f.Severity, f.Rule, rule[f.Rule].Title, rule[f.Rule].Source)
		for ; i < len(r.Findings) && r.Findings[i].Rule == f.Rule && r.Findings[i].Severity == f.Severity; i++ {
			g := &r.Findings[i]
			when := ""
			if !g.At.IsZero() {
				when = g.At.Format("15:04:05.000 ")
			}
			fmt.Fprintf(&b, "         %s%s: %s\n", when, g.Place, g.Text)
			if g.More > 0 {
				fmt.Fprintf(&b, "         and %d more there\n", g.More)
			}
		}
	}
	if len(r.Findings) > 0 {
		b.WriteByte('\n')
	}
	for _, s := range r.Summary() {
		fmt.Fprintln(&b, s)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Summary says in plain words what was looked at and what a player would do.
func (r *Report) Summary() []string {
	must, should := r.Count(Must), r.Count(Should)
	looked := fmt.Sprintf("%s: %s", plain.Text(r.Input), r.Kind)
	if r.Playlists > 0 {
		looked += fmt.Sprintf(", %s, %s", number(r.Playlists, "playlist or manifest", "playlists and manifests"), number(r.Segments, "segment", "segments"))
	}
	looked += ", " + number(int(r.Bytes), "byte", "bytes")
	if r.Watched > 0 {
		looked += fmt.Sprintf(", watched for %s", r.Watched.Round(time.Second))
	}
	out := []string{fmt.Sprintf("%s; %s had something to look at.", looked, number(len(r.Checked), "rule", "rules"))}
	switch {
	case must == 0 && should == 0:
		out = append(out, "Nothing is wrong: any player that keeps the standards plays it.")
	case must == 0:
		out = append(out, fmt.Sprintf("No MUST is broken: players play it. %s not kept:", number(should, "SHOULD is", "SHOULDs are")))
	default:
		out = append(out, fmt.Sprintf("%s a MUST is broken, %s a SHOULD. What a player would do:", number(must, "time", "times"), number(should, "time", "times")))
	}
	for _, e := range r.effects() {
		out = append(out, "  "+e)
	}
	for _, n := range r.Notes {
		out = append(out, "Note: "+n)
	}
	return out
}

// number writes how many there are of what has a name for one and one for several.
func number(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, several)
}

// effects lists each effect once, with the rules that have it.
func (r *Report) effects() []string {
	rule := map[string]Rule{}
	for _, x := range rules() {
		rule[x.ID] = x
	}
	var order []string
	by := map[string][]string{}
	for i := range r.Findings {
		f := &r.Findings[i]
		e := rule[f.Rule].Effect
		if by[e] == nil {
			order = append(order, e)
		}
		if !slices.Contains(by[e], f.Rule) {
			by[e] = append(by[e], f.Rule)
		}
	}
	for i, e := range order {
		order[i] = fmt.Sprintf("%s (%s)", e, strings.Join(by[e], ", "))
	}
	return order
}
