package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
)

// aim is what the CPU of cleave-av is to be at most, by that of plain libavformat.
const aim = 1.5

func (b *bench) report(w io.Writer, n int) {
	fmt.Fprintf(w, "# Reading packets by cleave-av, by libavformat in C, and by cleave's own demuxers\n\n"+
		"Medians of %d interleaved rounds, inputs in memory. Repeat it with `make bench-libav`.\n%s.\n\n"+
		"\"worker\" is cleave-av alone, \"cleave\" both processes: the packets are in cleave's\n"+
		"memory, in its form, their bitstream was looked at. \"small\" has packets of 1 kB, \"large\" of 100 kB.\n\n", n, machine())
	fmt.Fprint(w, "| input | packets | plain CPU s | worker CPU s | cleave CPU s | native CPU s | packets/s plain | cleave | native |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, in := range inputs {
		plain, libav, native := b.times["plain "+in.name], b.times["libav "+in.name], b.times["native "+in.name]
		fmt.Fprintf(w, "| %s | %d | %.3f | %.3f | %.3f | %s | %.0f | %.0f | %s |\n", in.name, libav[0].packets,
			median(plain, cpu), median(libav, worker), median(libav, cpu), or(native, cpu, "%.3f"),
			median(plain, rate), median(libav, rate), or(native, rate, "%.0f"))
	}
	fmt.Fprintf(w, "\n| CPU / that of plain libavformat, round by round | least | median | most | aim |\n|---|--:|--:|--:|--:|\n")
	for _, in := range inputs {
		b.ratio(w, in.name+", worker", in.name, worker)
		b.ratio(w, in.name+", cleave", in.name, cpu)
	}
	fmt.Fprintf(w, "\nStart of cleave-av until its libraries are loaded and it is restricted: %.0f ms, CPU %.0f ms.\n",
		1000*median(b.times["start"], wall), 1000*median(b.times["start"], cpu))
}

func (b *bench) ratio(w io.Writer, what, in string, f func(sample) float64) {
	ours, peer := b.times["libav "+in], b.times["plain "+in]
	r := make([]float64, len(ours))
	for i := range ours {
		r[i] = f(ours[i]) / cpu(peer[i])
	}
	slices.Sort(r)
	fmt.Fprintf(w, "| %s | %.2f | %.2f | %.2f | %.1f |\n", what, r[0], r[len(r)/2], r[len(r)-1], aim)
}

func cpu(s sample) float64    { return s.cpu.Seconds() }
func worker(s sample) float64 { return s.worker.Seconds() }
func wall(s sample) float64   { return s.wall.Seconds() }
func rate(s sample) float64   { return float64(s.packets) / s.wall.Seconds() }

func median(l []sample, f func(sample) float64) float64 {
	v := make([]float64, len(l))
	for i, s := range l {
		v[i] = f(s)
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// or is the median, or a dash where there are no samples.
func or(l []sample, f func(sample) float64, format string) string {
	if len(l) == 0 {
		return "-"
	}
	return fmt.Sprintf(format, median(l, f))
}

// machine describes where this runs.
func machine() string {
	cpu := "unknown processor"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if k, v, ok := strings.Cut(line, ":"); ok && strings.HasPrefix(k, "model name") {
				cpu = strings.TrimSpace(v)
				break
			}
		}
	}
	version, err := exec.Command("pkg-config", "--modversion", "libavformat").Output()
	if err != nil {
		version = []byte("unknown")
	}
	load := ""
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		load = ", load " + strings.Fields(string(b))[0]
	}
	return fmt.Sprintf("%s, %d processors%s, %s, libavformat %s", cpu, runtime.NumCPU(), load, runtime.Version(), strings.TrimSpace(string(version)))
}
