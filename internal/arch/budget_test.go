package arch

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The budgets. A function that needs more does more than one step of the story.
const (
	maxLines      = 150 // of any function
	maxLines99    = 100 // of 99 in 100
	maxLines95    = 60  // of 95 in 100
	maxCyclomatic = 20
	maxFile       = 800 // lines
	usualFile     = 400 // lines of 95 in 100 files
	maxMethods    = 5   // of an interface
)

// switchTables are functions whose branches are the rows of a table: one for each
// codec, box, tag or message, each trivial.
var switchTables = map[string]bool{}

// function is one function with a body, and what it measures.
type function struct {
	name              string // "package.Receiver.Name"
	lines, cyclomatic int
}

// source is one Go file of the project.
type source struct {
	path string // from the root
	ast  *ast.File
	n    int // lines
}

// sources parses every Go file of the project.
func sources(t *testing.T, fset *token.FileSet) []source {
	t.Helper()
	var out []source
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && len(d.Name()) > 2):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go"):
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(fset, path, b, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel("../..", path)
		out = append(out, source{path: filepath.ToSlash(rel), ast: f, n: bytes.Count(b, []byte("\n"))})
		return err
	})
	if err != nil || len(out) < 50 {
		t.Fatalf("%d files: %v", len(out), err)
	}
	return out
}

// functions measures what is declared in f.
func functions(fset *token.FileSet, f source) []function {
	var out []function
	for _, d := range f.ast.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Body == nil {
			continue
		}
		name := filepath.ToSlash(filepath.Dir(f.path)) + "."
		if fn.Recv != nil {
			recv := fn.Recv.List[0].Type
			if star, ok := recv.(*ast.StarExpr); ok {
				recv = star.X
			}
			if generic, ok := recv.(*ast.IndexExpr); ok {
				recv = generic.X
			}
			if id, ok := recv.(*ast.Ident); ok {
				name += id.Name + "."
			}
		}
		out = append(out, function{
			name: name + fn.Name.Name, cyclomatic: cyclomatic(fn),
			lines: fset.Position(fn.Body.Rbrace).Line - fset.Position(fn.Pos()).Line + 1,
		})
	}
	return out
}

// cyclomatic counts the branches of a function, and those of the functions in it.
func cyclomatic(fn *ast.FuncDecl) int {
	n := 1
	ast.Inspect(fn.Body, func(x ast.Node) bool {
		switch x := x.(type) {
		case *ast.IfStmt, *ast.ForStmt, *ast.RangeStmt:
			n++
		case *ast.CaseClause:
			if x.List != nil {
				n++
			}
		case *ast.CommClause:
			if x.Comm != nil {
				n++
			}
		case *ast.BinaryExpr:
			if x.Op == token.LAND || x.Op == token.LOR {
				n++
			}
		}
		return true
	})
	return n
}

func TestBudget(t *testing.T) {
	fset := token.NewFileSet()
	var lengths, files []int
	for _, f := range sources(t, fset) {
		test := strings.HasSuffix(f.path, "_test.go")
		if f.n > maxFile {
			t.Errorf("%s has %d lines, at most %d are allowed", f.path, f.n, maxFile)
		}
		files = append(files, f.n)
		for _, fn := range functions(fset, f) {
			if !test {
				lengths = append(lengths, fn.lines)
			}
			if fn.lines > maxLines {
				t.Errorf("%s has %d lines, at most %d are allowed", fn.name, fn.lines, maxLines)
			}
			if fn.cyclomatic > maxCyclomatic && !test && !switchTables[fn.name] {
				t.Errorf("%s has a cyclomatic complexity of %d, at most %d is allowed", fn.name, fn.cyclomatic, maxCyclomatic)
			}
		}
		interfaces(t, f)
	}
	share(t, "functions", lengths, maxLines95, 95)
	share(t, "functions", lengths, maxLines99, 99)
	share(t, "files", files, usualFile, 95)
}

// interfaces checks the size of those that f declares.
func interfaces(t *testing.T, f source) {
	ast.Inspect(f.ast, func(x ast.Node) bool {
		if s, ok := x.(*ast.TypeSpec); ok {
			if i, ok := s.Type.(*ast.InterfaceType); ok && i.Methods.NumFields() > maxMethods {
				t.Errorf("%s: interface %s has %d methods, at most %d are allowed", f.path, s.Name.Name, i.Methods.NumFields(), maxMethods)
			}
		}
		return true
	})
}

// share checks that percent of all sizes are at most limit.
func share(t *testing.T, what string, sizes []int, limit, percent int) {
	t.Helper()
	slices.Sort(sizes)
	if got := sizes[len(sizes)*percent/100]; got > limit {
		t.Errorf("%d %% of the %s may have %d lines at most, but have up to %d", percent, what, limit, got)
	}
}
