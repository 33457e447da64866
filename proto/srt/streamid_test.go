package srt

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestParseID(t *testing.T) {
	for in, want := range map[string]ID{
		"publish:live/cam1":                      {ModePublish, "live/cam1"},
		"read:live/cam1":                         {ModeRead, "live/cam1"},
		"publish:a:b":                            {ModePublish, "a:b"}, // for the hub to refuse
		"#!::r=live/cam1,m=publish":              {ModePublish, "live/cam1"},
		"#!::m=publish,u=me,h=host,s=7,r=cam":    {ModePublish, "cam"},
		"#!::r=cam":                              {ModeRead, "cam"},
		"#!::r=cam,m=request,t=stream,bmd_x=1,=": {},
		"#!::r=cam,t=stream,bmd_name=x=y":        {ModeRead, "cam"},
		"#!::r=../..,m=publish":                  {ModePublish, "../.."}, // for the hub to refuse
	} {
		got, err := ParseID(in)
		if got != want || (err == nil) != (want != ID{}) {
			t.Errorf("%q: %v %v, want %v", in, got, err, want)
		}
	}
}

func TestParseIDRefuses(t *testing.T) {
	for in, want := range map[string]error{
		"":                                    ErrStreamID,
		"live/cam1":                           ErrStreamID,
		"publish:":                            ErrStreamID,
		"write:x":                             ErrStreamID,
		"publish":                             ErrStreamID,
		"publish:a\nb":                        ErrStreamID,
		"publish:a\x00b":                      ErrStreamID,
		"publish:a\u202eb":                    ErrStreamID,
		"publish:\xff":                        ErrStreamID,
		"publish:" + strings.Repeat("a", 600): ErrStreamID,
		"#!::":                                ErrStreamID,
		"#!::m=publish":                       ErrStreamID,
		"#!::r":                               ErrStreamID,
		"#!::r=a,r=b":                         ErrStreamID,
		"#!:{r=a}":                            ErrStreamID,
		"#!::r=a,m=bidirectional":             ErrMode,
		"#!::r=a,m=":                          ErrMode,
		"#!::r=a,t=file":                      ErrMode,
	} {
		if got, err := ParseID(in); !errors.Is(err, want) {
			t.Errorf("%q: %v %v, want %v", in, got, err, want)
		}
	}
}

func FuzzParseID(f *testing.F) {
	for _, s := range []string{"publish:live/cam1", "read:x", "#!::r=live/cam1,m=publish", "#!::u=a,r=b,t=file", "#!::,=", "publish:\x00", "#!::r=a,r=b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseID(s)
		if err != nil {
			if !errors.Is(err, ErrStreamID) && !errors.Is(err, ErrMode) || id != (ID{}) {
				t.Fatalf("%v %v", id, err)
			}
			return
		}
		if id.Name == "" || id.Mode.String() == "none" || !strings.Contains(s, id.Name) || strings.ContainsFunc(id.Name, hidden) {
			t.Fatalf("%q: %v", s, id)
		}
		again, err := ParseID("#!::r=" + id.Name + ",m=publish")
		if err == nil && !strings.Contains(id.Name, ",") && again.Name != id.Name {
			t.Fatalf("%q became %q", id.Name, again.Name)
		}
	})
}

// A host that is refused too often is blocked until its window is over, and no
// number of hosts takes more than its share of memory.
func TestRefusals(t *testing.T) {
	var r refusals
	now := time.Unix(1000, 0)
	for i := range refusalsAllowed {
		if r.blocked("a", now) || r.add("a", now) != (i == refusalsAllowed-1) {
			t.Fatalf("refusal %d", i)
		}
	}
	if !r.blocked("a", now.Add(refusalsWithin-1)) || r.blocked("a", now.Add(refusalsWithin)) || r.blocked("b", now) {
		t.Error("blocked wrongly")
	}
	if r.add("a", now.Add(refusalsWithin)) || r.blocked("a", now.Add(refusalsWithin)) {
		t.Error("the window is not over")
	}
	for i := range 3 * hostsKept {
		r.add(strings.Repeat("x", i%7)+time.Duration(i).String(), now)
	}
	if len(r.hosts) > hostsKept {
		t.Errorf("%d hosts", len(r.hosts))
	}
}
