package interop

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"slices"
)

// Read returns the results in the file at path; none if there is no file.
func Read(path string) (*Result, error) {
	var r Result
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &r, nil
	case err != nil:
		return nil, err
	}
	return &r, json.Unmarshal(b, &r)
}

// Add puts the rows that an earlier run left in the file at path, and that this one did
// not run, beside its own, and writes all of them to the file. The columns are those of
// the run that had more.
func (r *Result) Add(path string) error {
	old, err := Read(path)
	if err != nil {
		return err
	}
	r.Load = append(old.Load, r.Load...)
	r.Took += old.Took
	if all := old.Deliveries; len(all) > len(r.Deliveries) {
		r.Rows = r.widened(all)
		r.Deliveries = all
	}
	r.Rows = merged(r.Rows, old.widened(r.Deliveries))
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}

// widened returns the rows with the columns of to; cells that were not run are empty.
func (r *Result) widened(to []Delivery) []Row {
	rows := slices.Clone(r.Rows)
	for i := range rows {
		if rows[i].Cells == nil {
			continue
		}
		cells := make([]Cell, len(to))
		for n, d := range to {
			if at := slices.IndexFunc(r.Deliveries, func(o Delivery) bool { return o.Protocol == d.Protocol && o.Player == d.Player }); at >= 0 {
				cells[n] = rows[i].Cells[at]
			}
		}
		rows[i].Cells = cells
	}
	return rows
}

// merged lists the rows of both in the order of the tables; those that were run count
// before those that were not, and newer ones before older ones.
func merged(newer, older []Row) []Row {
	var l []Row
	for _, c := range Codecs() {
		for _, in := range Ingests() {
			is := func(row Row) bool {
				return row.Ingest == in.Name && row.Codec == c.Name && (row.Lacks != "" || row.wasRun())
			}
			for _, rows := range [][]Row{newer, older} {
				if i := slices.IndexFunc(rows, is); i >= 0 {
					l = append(l, rows[i])
					break
				}
			}
		}
	}
	return l
}
