package arch

import (
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestDefaultsPage: docs/defaults.md says of every constant what the code says, and
// leaves none out that a configuration's zero value stands for.
func TestDefaultsPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/defaults.md")
	if err != nil {
		t.Fatal(err)
	}
	consts := constants(t)
	row := regexp.MustCompile("(?m)^\\| [^|]+ \\| ([^|]+) \\| [^|]* \\| `([a-z/]+\\.[A-Za-z]+)` \\|$")
	seen := map[string]bool{}
	for _, r := range row.FindAllStringSubmatch(string(page), -1) {
		seen[r[2]] = true
		expr := consts[r[2]]
		if expr == nil {
			t.Errorf("%s is no constant", r[2])
			continue
		}
		if got, want := evaluate(consts, expr), quantity(r[1]); got != want {
			t.Errorf("%s is %s, the page says %s", r[2], got, r[1])
		}
	}
	for name := range consts {
		pkg, id, _ := strings.Cut(name[strings.LastIndex(name, "/")+1:], ".")
		if strings.HasPrefix(id, "Default") && (pkg == "live" || pkg == "server" || name == "deliver/hls."+id) && !seen[name] {
			t.Errorf("%s is not on the page", name)
		}
	}
	if len(seen) < 20 {
		t.Errorf("only %d rows", len(seen))
	}
}

// constants returns the expression of every constant by "package.Name".
func constants(t *testing.T) map[string]ast.Expr {
	t.Helper()
	out := map[string]ast.Expr{}
	for _, f := range sources(t, token.NewFileSet()) {
		dir := filepath.ToSlash(filepath.Dir(f.path))
		for _, d := range f.ast.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.CONST {
				continue
			}
			for _, s := range g.Specs {
				v := s.(*ast.ValueSpec)
				for i := range v.Values {
					out[dir+"."+v.Names[i].Name] = v.Values[i]
				}
			}
		}
	}
	return out
}

// units are what constants are made of.
var units = map[string]int64{"Second": int64(time.Second), "Millisecond": int64(time.Millisecond), "Minute": int64(time.Minute), "Hour": int64(time.Hour)}

// evaluate returns a constant's value: a number, in nanoseconds if it is a duration,
// or a text.
func evaluate(consts map[string]ast.Expr, e ast.Expr) string {
	if s, ok := e.(*ast.BasicLit); ok && s.Kind == token.STRING {
		return strings.Trim(s.Value, `"`)
	}
	n, ok := number(consts, e)
	if !ok {
		return "unknown"
	}
	return strconv.FormatInt(n, 10)
}

func number(consts map[string]ast.Expr, e ast.Expr) (int64, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		n, err := strconv.ParseInt(e.Value, 0, 64)
		return n, err == nil
	case *ast.SelectorExpr:
		if u, ok := units[e.Sel.Name]; ok {
			return u, true
		}
		if x, ok := e.X.(*ast.Ident); ok && consts[x.Name+"."+e.Sel.Name] != nil {
			return number(consts, consts[x.Name+"."+e.Sel.Name])
		}
	case *ast.BinaryExpr:
		a, ok1 := number(consts, e.X)
		b, ok2 := number(consts, e.Y)
		switch {
		case !ok1 || !ok2:
		case e.Op == token.MUL:
			return a * b, true
		case e.Op == token.SHL:
			return a << b, true
		}
	}
	return 0, false
}

// quantity is what a cell of the page says, as evaluate says it. "1/8" is the 8.
func quantity(cell string) string {
	cell = strings.Trim(strings.TrimSpace(cell), "`")
	if d, err := time.ParseDuration(cell); err == nil && d != 0 {
		return strconv.FormatInt(int64(d), 10)
	}
	for suffix, shift := range map[string]int{" MiB": 20, " KiB": 10} {
		if n, err := strconv.ParseInt(strings.TrimSuffix(cell, suffix), 10, 64); strings.HasSuffix(cell, suffix) && err == nil {
			return strconv.FormatInt(n<<shift, 10)
		}
	}
	return strings.TrimPrefix(cell, "1/")
}
