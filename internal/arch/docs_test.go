package arch

import (
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// lifeSteps is how many steps the life of a packet may have for a newcomer.
const lifeSteps = 8

// pageName is a package and what it declares, as pages write it.
var pageName = regexp.MustCompile("`([a-z0-9/]+\\.[A-Za-z]+)`")

// TestLifeOfAPacket: the way of a packet is short.
func TestLifeOfAPacket(t *testing.T) {
	page, err := os.ReadFile("../../docs/life-of-a-packet.md")
	if err != nil {
		t.Fatal(err)
	}
	steps := regexp.MustCompile(`(?m)^\d+\. `).FindAll(page, -1)
	if len(steps) == 0 || len(steps) > lifeSteps {
		t.Errorf("%d steps, 1 to %d are allowed", len(steps), lifeSteps)
	}
	if n := len(pageName.FindAll(page, -1)); n < len(steps) {
		t.Errorf("%d functions and types are named in %d steps", n, len(steps))
	}
}

// TestNamesInDocs: what the pages name is there.
func TestNamesInDocs(t *testing.T) {
	declared := declarations(t)
	for _, name := range []string{"life-of-a-packet.md", "glossary.md"} {
		page, err := os.ReadFile("../../docs/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range pageName.FindAllStringSubmatch(string(page), -1) {
			if !declared[n[1]] {
				t.Errorf("%s names %s, which does not exist", name, n[1])
			}
		}
	}
}

// declarations returns "package.Name" of everything declared, methods too.
func declarations(t *testing.T) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	fset := token.NewFileSet()
	for _, f := range sources(t, fset) {
		// A page says "mp4.AppendInit" as code does, or "format/mp4.AppendInit".
		dir := filepath.ToSlash(filepath.Dir(f.path))
		add := func(name string) { out[dir+"."+name], out[f.ast.Name.Name+"."+name] = true, true }
		for _, fn := range functions(fset, f) {
			add(fn.name[strings.LastIndex(fn.name, ".")+1:])
		}
		for _, d := range f.ast.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, s := range g.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					add(s.Name.Name)
				case *ast.ValueSpec:
					for _, id := range s.Names {
						add(id.Name)
					}
				}
			}
		}
	}
	return out
}

// TestLinks: every file that a page links to is there.
func TestLinks(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("../../docs/*/*.md")
	if err != nil {
		t.Fatal(err)
	}
	pages = append(append(pages, more...), "../../README.md", "../../CONTRIBUTING.md", "../../CHANGELOG.md")
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	for _, page := range pages {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range link.FindAllStringSubmatch(string(b), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), l[1])); err != nil {
				t.Errorf("%s links to %s: %v", page, l[1], err)
			}
		}
	}
}
