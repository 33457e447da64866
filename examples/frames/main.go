// Command frames watches a live stream frame by frame: it reads server-sent events,
// goes on where it was when the connection breaks, and saves every key frame.
//
//	frames http://localhost:8080/live/cam1 [FRAMES [DIR]]
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// frame is what the program uses of an event.
type frame struct {
	Type      string
	Timestamp int64 // microseconds
	PTS       int64 // ticks of Timebase
	Timebase  string
	Codec     string
	Size      int
}

func main() {
	if len(os.Args) < 2 {
		log.Fatal("usage: frames URL [FRAMES [DIR]]")
	}
	w := &watcher{url: strings.TrimSuffix(os.Args[1], "/"), left: 100}
	if len(os.Args) > 2 {
		n, err := strconv.Atoi(os.Args[2])
		check(err)
		w.left = n
	}
	if len(os.Args) > 3 {
		w.dir = os.Args[3]
	}
	for w.left > 0 {
		check(w.watch())
	}
}

type watcher struct {
	url, dir string
	left     int
	last     string // id of the newest event
}

// watch reads events until the connection ends.
func (w *watcher) watch() error {
	req, err := http.NewRequest(http.MethodGet, w.url+"/frames", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "text/event-stream")
	if w.last != "" {
		req.Header.Set("Last-Event-ID", w.last)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", req.URL, res.Status)
	}
	name := ""
	for lines := bufio.NewScanner(res.Body); w.left > 0 && lines.Scan(); {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "id":
			w.last = value
		case "event":
			name = value
		case "data":
			if err := w.event(name, value); err != nil {
				return err
			}
		}
	}
	time.Sleep(100 * time.Millisecond) // before it asks again
	return nil
}

func (w *watcher) event(name, data string) error {
	if name != "frame" {
		fmt.Println(name, data) // config: for a decoder; skip: frames are missing
		return nil
	}
	var f frame
	if err := json.Unmarshal([]byte(data), &f); err != nil {
		return err
	}
	w.left--
	fmt.Printf("%-5s %12.6f s  %6d bytes  %s\n", f.Type, float64(f.Timestamp)/1e6, f.Size, f.Codec)
	if f.Type == "key" && w.dir != "" {
		return w.save()
	}
	return nil
}

// save fetches the newest key frame that is served.
func (w *watcher) save() error {
	res, err := http.Get(w.url + "/keyframe")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusServiceUnavailable {
		return nil // there is none yet
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", res.Request.URL, res.Status)
	}
	f, err := os.Create(filepath.Join(w.dir, res.Header.Get("X-Frame-PTS")+".264"))
	if err != nil {
		return err
	}
	_, err = io.Copy(f, res.Body)
	return errors.Join(err, f.Close())
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
