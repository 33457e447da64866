// The player of single frames: it reads the binary stream of NAME/frames and the GOPs of
// NAME/gop, decodes them with WebCodecs, and shows exactly the frame that is asked for.
// Times are in microseconds, as WebCodecs has them, unless a name says otherwise.
'use strict';

const HELD = 48 << 20;      // bytes of frames that are kept
const PICTURES = 256 << 20; // bytes of decoded pictures that are kept
const FLAG = { key: 0x01, leading: 0x02, skip: 0x20, config: 0x40, idle: 0x80 };

// Messages cuts the binary stream into messages, however its bytes arrive.
class Messages {
  constructor() { this.have = new Uint8Array(0); }
  *push(bytes) {
    if (this.have.length) {
      const all = new Uint8Array(this.have.length + bytes.length);
      all.set(this.have); all.set(bytes, this.have.length);
      bytes = all;
    }
    let at = 0;
    for (; bytes.length - at >= 4;) {
      const view = new DataView(bytes.buffer, bytes.byteOffset + at), n = view.getUint32(0);
      if (n < 13) throw new Error('a message of ' + n + ' bytes');
      if (bytes.length - at < 4 + n) break;
      yield { flags: view.getUint8(4), timestamp: Number(view.getBigInt64(5)), duration: view.getUint32(13), data: bytes.slice(at + 17, at + 4 + n) };
      at += 4 + n;
    }
    this.have = bytes.slice(at);
  }
}

const text = bytes => new TextDecoder().decode(bytes);

// setup is what a VideoDecoder is configured with.
function setup(message) {
  const said = JSON.parse(text(message.data)), [num, den] = said.timebase.split('/').map(Number);
  const config = { codec: said.codec, codedWidth: said.codedWidth, codedHeight: said.codedHeight };
  if (said.description) config.description = Uint8Array.from(atob(said.description), c => c.charCodeAt(0));
  return { config, num, den, turned: said.rotation || 0, id: said.codec + said.description };
}

const frameOf = m => ({ type: m.flags & FLAG.key ? 'key' : 'delta', leading: !!(m.flags & FLAG.leading), timestamp: m.timestamp, duration: m.duration, data: m.data });
const chunkOf = f => new EncodedVideoChunk({ type: f.type, timestamp: f.timestamp, duration: f.duration || undefined, data: f.data });

// Gop is a key frame and what follows it, in the order of decoding.
class Gop {
  constructor(setup, key) {
    this.setup = setup; this.key = key.timestamp; this.frames = [key]; this.bytes = key.data.length;
    this.state = 'growing'; // whole: all frames are here; broken: some are not
    this.next = null;       // key of the GOP behind it
  }
  add(frame) {
    frame.leading = frame.timestamp < this.key; // also what could be decoded without the GOP before
    this.frames.push(frame);
    this.bytes += frame.data.length;
  }
}

// Gops is those that are held, by their keys.
class Gops {
  constructor() { this.map = new Map(); this.bytes = 0; }
  // near returns the one whose key is at a time, give or take what rounding does.
  near(key) {
    for (let d = 0; d <= 2; d++) for (const k of [key + d, key - d]) if (this.map.has(k)) return this.map.get(k);
    return null;
  }
  // shown lists a GOP's frames as they are presented. Those that lead the next key frame
  // belong to it: they refer to its pictures.
  shown(gop) {
    const next = gop.next === null ? null : this.near(gop.next);
    const list = gop.frames.filter(f => !f.leading);
    if (next && next.setup.id === gop.setup.id) list.push(...next.frames.filter(f => f.leading));
    return list.sort((a, b) => a.timestamp - b.timestamp);
  }
  // fed lists frames in the order in which the decoder is to have them, to show gop's;
  // run-up is GOPs before it.
  fed(gop, runUp = []) {
    const next = gop.next === null ? null : this.near(gop.next);
    const list = [...runUp, gop].flatMap((g, i) => i === 0 ? g.frames.filter(f => !f.leading) : g.frames);
    if (next && next.setup.id === gop.setup.id && next.frames.some(f => f.leading)) list.push(next.frames[0], ...next.frames.filter(f => f.leading));
    return list;
  }
  before(gop) {
    for (const g of this.map.values()) if (g.next !== null && Math.abs(g.next - gop.key) <= 2) return g;
    return null;
  }
  // at returns the GOP that surely holds a time.
  at(time) {
    for (const g of this.map.values()) if (g.state === 'whole' && g.key <= time && g.next !== null && time < g.next) return g;
    return null;
  }
  put(gop) {
    const old = this.map.get(gop.key);
    if (old) { this.bytes -= old.bytes; Object.assign(old, gop); gop = old; } else this.map.set(gop.key, gop);
    this.bytes += gop.bytes;
    return gop;
  }
  // trim lets go of GOPs far from a time, never of keep.
  trim(time, keep) {
    while (this.bytes > HELD) {
      let far = null;
      for (const g of this.map.values()) if (!keep.includes(g) && g.state !== 'growing' && (!far || Math.abs(g.key - time) > Math.abs(far.key - time))) far = g;
      if (!far) return;
      this.map.delete(far.key); this.bytes -= far.bytes;
    }
  }
}

// Decoded makes pictures of frames, one decoder going through one GOP.
class Decoded {
  constructor(gops) { this.gops = gops; this.cache = new Map(); this.bytes = 0; this.decoder = null; this.run = null; this.wanted = null; }
  // picture returns the ImageBitmap of a frame of gop, decoded behind runUp, GOPs before
  // it. A call ends the one before it.
  picture(gop, frame, runUp) {
    this.drop(new Error('another frame is wanted'));
    const have = this.cache.get(frame.timestamp);
    if (have) { this.cache.delete(frame.timestamp); this.cache.set(frame.timestamp, have); return Promise.resolve(have); }
    return new Promise((resolve, reject) => {
      this.wanted = { timestamp: frame.timestamp, resolve, reject };
      const r = this.run;
      // The run goes on if it has not come to the frame.
      if (!r || r.gop !== gop || r.over || r.setup !== gop.setup.id || r.runUp.length !== runUp.length || r.reached >= frame.timestamp) this.begin(gop, runUp);
      else r.list = this.gops.fed(gop, runUp); // which may have grown
      this.feed();
    });
  }
  drop(why) { if (this.wanted) { this.wanted.reject(why); this.wanted = null; } }
  fail(error) { this.run = null; this.drop(error); }
  begin(gop, runUp) {
    if (this.decoder && this.decoder.state !== 'closed') this.decoder.close();
    const run = { gop, runUp, setup: gop.setup.id, list: this.gops.fed(gop, runUp), at: 0, reached: -Infinity, over: false };
    this.run = run;
    this.decoder = new VideoDecoder({ output: f => this.output(run, f), error: e => { if (this.run === run) this.fail(e); } });
    this.decoder.configure(gop.setup.config);
    this.decoder.ondequeue = () => { if (this.run === run) this.feed(); };
  }
  feed() {
    const r = this.run;
    if (!r || r.over || !this.wanted) return;
    try {
      while (r.at < r.list.length && this.decoder.decodeQueueSize < 4) this.decoder.decode(chunkOf(r.list[r.at++]));
      if (r.at < r.list.length) return;
      r.over = true; // behind a flush a key frame must come
      this.decoder.flush().then(() => Promise.all(r.making || [])).then(() => {
        if (this.run === r && this.wanted) this.fail(new Error('the decoder made no picture of this frame'));
      }, e => { if (this.run === r) this.fail(e); });
    } catch (e) { this.fail(e); }
  }
  output(run, picture) {
    const time = picture.timestamp, size = picture.displayWidth * picture.displayHeight * 4;
    run.reached = Math.max(run.reached, time);
    // Of what comes long before the frame that is wanted no picture is kept.
    const room = Math.max(2, Math.floor(PICTURES / size) - 3), far = this.wanted && time < this.wanted.timestamp &&
      run.list.filter(f => f.timestamp > time && f.timestamp <= this.wanted.timestamp).length > room;
    if (this.run !== run || far || this.cache.has(time)) { picture.close(); return; }
    (run.making ||= []).push(createImageBitmap(picture).then(bitmap => {
      picture.close();
      if (this.cache.has(time)) { bitmap.close(); } else { this.cache.set(time, bitmap); this.bytes += size; }
      if (this.wanted && this.wanted.timestamp === time) {
        const w = this.wanted;
        this.wanted = null;
        w.resolve(this.cache.get(time));
      }
      for (const [t, b] of this.cache) {
        if (this.bytes <= PICTURES || t === time) break;
        this.cache.delete(t); this.bytes -= b.width * b.height * 4;
        b.close();
      }
    }, () => picture.close()));
  }
}

class Refused extends Error { constructor(status, text) { super(text); this.status = status; } }

const pause = ms => new Promise(done => setTimeout(done, ms));
// at is a time as the server takes it. It rounds to ticks, so half a microsecond too
// much finds the frame, and too little might not.
const at = ns => (Math.floor(ns / 1e9)) + '.' + String(Math.round(ns - Math.floor(ns / 1e9) * 1e9)).padStart(9, '0');
const atFrame = time => at(Math.max(0, time * 1000 + 500));

// Server asks for frames.
class Server {
  constructor(onWindow) { this.onWindow = onWindow; }
  said(headers) {
    const n = name => headers.has(name) ? Number(headers.get(name)) / 1000 : null;
    if (n('X-Window-Start') !== null) this.onWindow(n('X-Window-Start'), n('X-Window-End'));
    return n('X-Gop-Next-PTS');
  }
  async ask(url, signal, method = 'GET') {
    for (let tries = 0; ; tries++) {
      const answer = await fetch(url, { signal, method, cache: 'no-cache' });
      if (answer.ok) return answer;
      if (answer.status !== 503 || tries === 5) throw new Refused(answer.status, (await answer.text()).trim() || answer.statusText);
      await pause(500);
    }
  }
  // gop fetches the GOP at a place: "at=SECONDS" or "index=N"; only its key frame if
  // that is all that is wanted.
  async gop(place, onlyKey, signal) {
    const answer = await this.ask((onlyKey ? 'keyframe' : 'gop') + '?format=frames&' + place, signal), next = this.said(answer.headers);
    let gop = null, how = null;
    for (const m of new Messages().push(new Uint8Array(await answer.arrayBuffer()))) {
      if (m.flags & FLAG.config) how = setup(m);
      else if (m.flags & (FLAG.skip | FLAG.idle)) continue;
      else if (!gop) gop = new Gop(how, frameOf(m));
      else gop.add(frameOf(m));
    }
    if (!gop) throw new Refused(500, 'there is no frame in the answer');
    gop.next = next;
    gop.state = onlyKey || answer.headers.get('X-Gop-Open') === 'true' ? 'broken' : 'whole';
    return gop;
  }
  async window(signal) { this.said((await this.ask('keyframe', signal, 'HEAD')).headers); }
}

// Stream reads every frame as it comes, and begins anew when it breaks off.
class Stream {
  constructor(on) { this.on = on; this.control = null; this.gop = null; }
  start() { if (!this.control) { this.control = new AbortController(); this.read(this.control); } }
  stop() { if (this.control) { this.control.abort(); this.control = null; this.cut(); } }
  // cut: what comes next does not follow on.
  cut() { if (this.gop && this.gop.state === 'growing') this.gop.state = 'broken'; this.gop = null; }
  async read(control) {
    while (!control.signal.aborted) {
      try {
        const answer = await fetch('frames?payload=1', { signal: control.signal });
        if (!answer.ok) throw new Refused(answer.status, (await answer.text()).trim());
        const messages = new Messages(), body = answer.body.getReader();
        for (;;) {
          const { done, value } = await body.read();
          if (done) break;
          for (const m of messages.push(value)) {
            if (control.signal.aborted) return; // by what the one before was taken for
            this.message(m);
          }
        }
        this.on.state('reconnecting');
      } catch (e) {
        if (control.signal.aborted) return;
        this.on.state(e instanceof Refused && e.status === 404 ? 'waiting for the publisher' : 'reconnecting');
      }
      this.cut();
      await pause(1000);
    }
  }
  message(m) {
    if (m.flags & FLAG.config) { this.cut(); this.setup = setup(m); this.on.config(this.setup); return; }
    if (m.flags & FLAG.skip) { this.cut(); this.on.skip(); return; }
    if (m.flags & FLAG.idle) { this.on.state('waiting for the publisher'); return; }
    const frame = frameOf(m);
    if (frame.type === 'key') {
      if (this.gop) { this.gop.state = 'whole'; this.gop.next = frame.timestamp; }
      this.gop = this.on.gop(new Gop(this.setup, frame));
    } else if (this.gop) {
      this.gop.add(frame);
      this.on.grown(frame.data.length);
    } else return;
    this.on.frame(this.gop, frame);
  }
}

// Live shows what comes at the pace of its times: a clock that runs delay behind.
class Live {
  constructor(show, fail) { this.show = show; this.fail = fail; this.queue = []; this.decoder = null; this.base = null; this.delay = 120; this.faults = 0; }
  configure(setup) {
    this.stop();
    this.setup = setup;
    const d = this.decoder = new VideoDecoder({
      output: f => { if (this.decoder === d) this.take(f); else f.close(); },
      // It goes on at the next key frame.
      error: e => { if (this.decoder === d) { this.decoder = null; if (++this.faults > 10) this.fail(e); } },
    });
    this.decoder.configure({ ...setup.config, optimizeForLatency: true });
  }
  // take puts a picture where it belongs: some decoders are early with those that are
  // shown late.
  take(f) {
    this.faults = 0;
    const q = this.queue;
    let i = q.length;
    while (i > 0 && q[i - 1].timestamp > f.timestamp) i--;
    q.splice(i, 0, f);
  }
  frame(gop, frame) {
    if (!this.decoder || this.setup !== gop.setup) this.configure(gop.setup);
    if (this.fresh && frame.type !== 'key') return;
    if (frame.leading && this.freshKey) return; // what it refers to was not decoded
    if (frame.type === 'key') { this.freshKey = this.fresh; this.fresh = false; }
    this.decoder.decode(chunkOf(frame));
  }
  // tick shows the frame that is due.
  tick(now) {
    const q = this.queue;
    if (!q.length) return;
    if (this.base === null || q[0].timestamp / 1000 + this.base < now - 1000 || q[0].timestamp / 1000 + this.base > now + 2000) this.base = now + this.delay - q[0].timestamp / 1000;
    if (q.length > 12) { // it is too far behind, as at the beginning
      while (q.length > 3) q.shift().close();
      this.base = now + this.delay - q[0].timestamp / 1000;
    }
    if (q[0].timestamp / 1000 + this.base > now) return;
    const f = q.shift();
    this.show(f);
    f.close();
  }
  stop() {
    for (const f of this.queue) f.close();
    this.queue = []; this.base = null; this.fresh = true;
    if (this.decoder && this.decoder.state !== 'closed') this.decoder.close();
    this.decoder = null;
  }
}

const $ = id => document.getElementById(id);
const canvas = $('picture'), draws = canvas.getContext('2d');
const grouped = n => n.toLocaleString('en').replaceAll(',', '\u202f');
const put = (id, text, small) => {
  const dd = $(id);
  dd.textContent = text;
  if (small) dd.appendChild(document.createElement('small')).textContent = small;
};
const ICON = { play: 'M5 3v14l12-7z', pause: 'M4 3h4v14H4zM12 3h4v14h-4z' };

class Player {
  constructor(hasStream) {
    this.hasStream = hasStream;
    this.mode = 'paused';  // live, playing, paused
    this.current = null;   // {gop, frame}: what is on the canvas
    this.window = [0, 0];
    this.gops = new Gops();
    this.decoded = new Decoded(this.gops);
    this.server = new Server((from, to) => { this.window = [from, Math.max(to, from)]; this.bar(); });
    this.live = new Live(f => this.showLive(f), e => this.trouble(e));
    this.stream = new Stream({
      config: s => this.configured(s),
      gop: g => this.held(g),
      grown: n => { this.gops.bytes += n; },
      frame: (g, f) => this.arrived(g, f),
      skip: () => { this.live.fresh = true; },
      state: s => { if (this.mode === 'live') this.say(s); },
    });
    this.busy = Promise.resolve();
    this.pending = 0;
    this.scrubbing = null;
  }

  // Of the stream.
  async configured(s) {
    const { supported } = await VideoDecoder.isConfigSupported(s.config).catch(() => ({ supported: false }));
    if (!supported) this.trouble(new Error('This browser does not decode ' + s.config.codec + '; the server\'s pictures, linked here, can be seen.'));
    return supported;
  }
  held(gop) {
    gop = this.gops.put(gop);
    this.gops.trim(this.current ? this.current.frame.timestamp : gop.key, [gop, this.current && this.current.gop]);
    return gop;
  }
  arrived(gop, frame) {
    if (frame.timestamp > this.window[1]) { this.window[1] = frame.timestamp; if (!this.window[0]) this.window[0] = frame.timestamp; }
    if (this.mode === 'live') { try { this.live.frame(gop, frame); } catch (e) { this.live.stop(); } return; }
    // Paused, with its GOP whole: the others come when they are wanted.
    if (!this.current || this.current.gop.state !== 'growing') this.stream.stop();
    else if (gop === this.current.gop) this.strip();
  }

  // What is shown.
  // Cameras that were held upright say so beside their pictures: turned is in degrees,
  // clockwise.
  paint(picture, width, height, turned = 0) {
    const [w, h] = turned % 180 ? [height, width] : [width, height];
    if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h; }
    draws.setTransform(1, 0, 0, 1, 0, 0);
    if (turned) { draws.translate(w / 2, h / 2); draws.rotate(turned * Math.PI / 180); draws.translate(-width / 2, -height / 2); }
    draws.drawImage(picture, 0, 0, width, height);
  }
  showLive(f) {
    for (const gop of [...this.gops.map.values()].reverse()) {
      const frame = gop.frames.find(x => x.timestamp === f.timestamp);
      if (!frame) continue;
      this.paint(f, f.displayWidth, f.displayHeight, gop.setup.turned);
      this.current = { gop, frame };
      if (frame.leading) this.current.gop = this.gops.before(gop) || gop;
      this.say('live', true);
      this.told();
      return;
    }
  }
  // show decodes a frame and draws it; false if another one was wanted meanwhile.
  async show(gop, frame) {
    if (this.mode === 'live') return false; // so was decided meanwhile
    const turn = this.turn = (this.turn || 0) + 1;
    let picture;
    try { picture = await this.picture(gop, frame); } catch (e) { if (turn === this.turn) throw e; return false; }
    if (turn !== this.turn) return false;
    this.paint(picture, picture.width, picture.height, gop.setup.turned);
    this.current = { gop, frame };
    this.told();
    return true;
  }

  // picture decodes a frame. An open GOP may not be decoded by itself: its pictures may
  // want to let go of some that came before it, which decoders take for an error. Then it
  // is decoded behind the GOPs before, a few of them at most.
  async picture(gop, frame) {
    for (;;) {
      const runUp = [];
      for (let g = gop; runUp.length < (gop.runUp || 0); runUp.unshift(g)) {
        const before = await this.gopBefore(g);
        if (!before || before.setup.id !== gop.setup.id) break;
        g = before;
      }
      try { return await this.decoded.picture(gop, frame, runUp); } catch (e) {
        if (e.name !== 'EncodingError' || runUp.length < (gop.runUp || 0) || runUp.length === 5) throw e;
        gop.runUp = runUp.length + 1;
      }
    }
  }

  // GOPs, fetched if they are not held.
  async need(place, onlyKey, signal) {
    const gop = await this.server.gop(place, onlyKey, signal), { setup } = gop;
    if (this.can !== setup.id) {
      this.links(gop);
      if (!await this.configured(setup)) {
        const answer = await fetch($('asjpeg').href);
        if (answer.ok) { const b = await createImageBitmap(await answer.blob()); this.paint(b, b.width, b.height); b.close(); }
        throw new DOMException('not decoded', 'AbortError'); // that was said
      }
      this.can = setup.id;
    }
    return onlyKey ? gop : this.held(gop);
  }
  whole(gop) { return gop && gop.state !== 'broken' ? gop : null; }
  async nextGop(gop) {
    if (gop.next === null) return null;
    const next = this.whole(this.gops.near(gop.next)) || await this.need('at=' + atFrame(gop.next));
    return next.key > gop.key ? next : null;
  }
  async gopBefore(gop) {
    const have = this.whole(this.gops.before(gop));
    if (have) return have;
    const tick = Math.max(1e9 * gop.setup.num / gop.setup.den, 2000), ns = gop.key * 1000 - tick;
    if (ns < 0) return null;
    try {
      const found = await this.need('at=' + at(ns));
      return found.key < gop.key ? found : null;
    } catch (e) { if (e.status === 404) return null; throw e; }
  }
  // whatFollows returns the frame d frames on; null: there is none.
  async whatFollows({ gop, frame }, d) {
    const place = g => this.gops.shown(g).findIndex(f => f.timestamp === frame.timestamp);
    if (place(gop) < 0) { // it leads gop, and the GOP that it is shown with is not held
      const before = await this.gopBefore(gop);
      if (before && place(before) >= 0) gop = before;
      else if (d > 0) return { gop, frame: gop.frames[0] };
    }
    let list = this.gops.shown(gop), i = place(gop) + d;
    if (i >= 0 && i < list.length) return { gop, frame: list[i] };
    if (d < 0) {
      const before = await this.gopBefore(gop);
      return before && { gop: before, frame: this.gops.shown(before).at(-1) };
    }
    if (gop.state === 'broken') gop = await this.need('at=' + atFrame(gop.key));
    const next = await this.nextGop(gop);
    list = this.gops.shown(gop); // with what leads the next
    i = place(gop) + d;
    if (i < list.length) return { gop, frame: list[i] };
    return next && { gop: next, frame: next.frames[0] };
  }

  // What people do. One thing after another: whoever comes later waits.
  act(what) {
    this.busy = this.busy.then(what).catch(e => this.trouble(e));
    return this.busy;
  }
  hold() {
    if (this.mode === 'live') this.live.stop();
    this.mode = 'paused';
    this.say('paused');
  }
  step(d) {
    this.hold();
    if (Math.abs(this.pending + d) > 3) return this.busy; // keys repeat faster than pictures come
    this.pending += d;
    return this.act(async () => {
      this.pending -= d;
      const to = this.current && await this.whatFollows(this.current, d);
      if (to) await this.show(to.gop, to.frame);
      else if (this.current) this.say(d > 0 ? 'the newest frame' : 'the oldest frame');
    });
  }
  stepKey(d) {
    this.hold();
    if (Math.abs(this.pending + d) > 3) return this.busy;
    this.pending += d;
    return this.act(async () => {
      this.pending -= d;
      if (!this.current) return;
      let { gop, frame } = this.current, to;
      if (d < 0) to = frame.timestamp > gop.key ? gop : await this.gopBefore(gop);
      else {
        if (gop.state === 'broken') gop = await this.need('at=' + atFrame(gop.key));
        to = await this.nextGop(gop);
      }
      if (to) await this.show(to, to.frames[0]);
      else this.say(d > 0 ? 'the newest GOP' : 'the oldest GOP');
    });
  }
  // goTo shows the frame that is presented at a time, or the key frame before it.
  goTo(time, exactly) {
    this.hold();
    return this.act(async () => {
      const gop = this.gops.at(time) || await this.need('at=' + atFrame(time));
      let frame = gop.frames[0];
      if (exactly) for (const f of this.gops.shown(gop)) if (f.timestamp <= time + 2) frame = f;
      await this.show(gop, frame);
    });
  }
  oldest() { return this.goTo(this.window[0]); }
  edge() {
    if (!this.hasStream) { this.hold(); return this.act(async () => { const g = await this.need('index=-1'); await this.show(g, this.gops.shown(g).at(-1)); }); }
    this.turn = (this.turn || 0) + 1;
    this.mode = 'live';
    this.stream.stop(); // a new one begins with a key frame
    this.stream.start();
    this.say('waiting');
    return this.busy;
  }
  // scrub shows the key frame at a time as fast as they come, never two at once.
  scrub(time) {
    this.hold();
    if (this.scrubbing) { this.scrubbing.then = time; return; }
    const s = this.scrubbing = { then: null };
    this.act(async () => {
      for (let t = time; t !== null; t = s.then) {
        s.then = null;
        const gop = this.gops.at(t) || await this.need('at=' + atFrame(t), true);
        await this.show(gop, gop.frames[0]);
      }
    }).finally(() => { this.scrubbing = null; });
  }
  // settle holds the GOP of the key frame that scrubbing ended at.
  settle() {
    return this.act(async () => {
      if (!this.current || this.gops.map.get(this.current.gop.key) === this.current.gop) return;
      const gop = await this.need('at=' + atFrame(this.current.gop.key));
      this.current = { gop, frame: gop.frames[0] };
      this.told();
    });
  }
  toggle() {
    if (this.mode !== 'paused') { this.hold(); if (this.current) this.told(); return this.busy; }
    if (!this.current) return this.edge();
    this.mode = 'playing';
    this.say('playing');
    return this.act(() => this.play());
  }
  // play shows frame after frame at the pace of their times.
  async play() {
    let base = null;
    while (this.mode === 'playing') {
      const to = await this.whatFollows(this.current, 1);
      if (this.mode !== 'playing') return;
      if (!to) {
        if (this.hasStream) { this.edge(); } else { this.hold(); this.say('the end'); }
        return;
      }
      const due = to.frame.timestamp / 1000;
      if (base === null || Math.abs(base + due - performance.now()) > 1000) base = performance.now() + 20 - due;
      await this.picture(to.gop, to.frame);
      const early = base + due - performance.now();
      if (early > 0) await pause(early);
      if (this.mode !== 'playing') return;
      await this.show(to.gop, to.frame);
      const list = this.gops.shown(to.gop);
      if (to.gop.next !== null && list.indexOf(to.frame) > list.length / 2 && !this.whole(this.gops.near(to.gop.next)) && !this.ahead) {
        this.ahead = this.nextGop(to.gop).catch(() => {}).finally(() => { this.ahead = null; });
      }
    }
  }

  // What is said.
  trouble(e) {
    if (e.name === 'AbortError') return;
    this.hold();
    this.say('not shown');
    $('note').textContent = String(e.message || e);
  }
  say(text, live) {
    $('state').textContent = text;
    $('state').className = $('edge').className = live ? 'live' : '';
    $('playicon').setAttribute('d', this.mode === 'paused' ? ICON.play : ICON.pause);
  }
  told() {
    const { gop, frame } = this.current, { num, den, config } = gop.setup;
    const seconds = (frame.timestamp / 1e6).toFixed(6), ticks = Math.round(frame.timestamp * den / num / 1e6);
    put('pts', seconds + ' s', `${ticks} × ${num}/${den} s`);
    put('type', frame.leading ? 'delta, leading' : frame.type);
    $('type').className = frame.type;
    put('bytes', grouped(frame.data.length));
    put('size', `${canvas.width} × ${canvas.height}`, config.codec);
    canvas.setAttribute('aria-label', `${frame.type} frame at ${seconds} s`);
    const list = this.gops.shown(gop), i = list.findIndex(f => f.timestamp === frame.timestamp);
    put('place', `${i + 1} of ${list.length}${gop.state === 'whole' ? '' : ' so far'}`, frame.duration ? (frame.duration / 1000).toFixed(3) + ' ms long' : '');
    $('gopsays').textContent = `${grouped(Math.round(gop.bytes / 1000))} kB in this GOP`;
    if (this.mode !== 'live') {
      history.replaceState(null, '', '#t=' + seconds);
      if (!this.scrubbing) $('note').textContent = '';
    }
    this.links(gop);
    $('save').download = seconds + '.png';
    this.bar();
    this.strip();
  }
  links(gop) {
    const key = 'at=' + atFrame(gop.key);
    for (const [id, href] of [['asjpeg', 'keyframe?format=jpeg&'], ['asmp4', 'keyframe?format=mp4&'], ['asannexb', 'keyframe?'], ['gopmp4', 'gop?format=mp4&']]) $(id).href = href + key;
  }
  bar() {
    const s = $('scrub'), [from, to] = this.window, clock = t => {
      const sec = Math.abs(t) / 1e6, sign = t <= -1e6 ? '−' : '', h = Math.floor(sec / 3600), m = Math.floor(sec / 60) % 60;
      return sign + (h ? h + ':' + String(m).padStart(2, '0') : m) + ':' + String(Math.floor(sec % 60)).padStart(2, '0');
    };
    s.min = from / 1e6; s.max = Math.max(to, from + 1) / 1e6;
    if (this.current && !this.scrubbing) s.value = this.current.frame.timestamp / 1e6;
    $('from').textContent = clock(from); $('to').textContent = clock(to);
  }
  // strip draws the GOP: a block for each frame, its height its size.
  strip() {
    const c = $('gop'), dpr = devicePixelRatio || 1, g = c.getContext('2d');
    c.width = c.clientWidth * dpr; c.height = c.clientHeight * dpr;
    if (!this.current) return;
    const list = this.gops.shown(this.current.gop), top = Math.sqrt(Math.max(...list.map(f => f.data.length)));
    const step = Math.min(c.width / list.length, 48 * dpr), gap = step > 6 * dpr ? 2 * dpr : step > 3 * dpr ? dpr : 0;
    list.forEach((f, i) => {
      const here = f.timestamp === this.current.frame.timestamp, h = Math.max(4 * dpr, (c.height - 14 * dpr) * Math.sqrt(f.data.length) / top);
      g.fillStyle = f.type === 'key' ? '#ffb454' : f.leading ? '#a58be0' : '#3b6ea8';
      if (here) { g.fillStyle = '#262d36'; g.fillRect(i * step, 0, step, c.height); g.fillStyle = f.type === 'key' ? '#ffd9a3' : '#cfe2ff'; }
      g.fillRect(i * step + gap / 2, c.height - h, Math.max(1, step - gap), h);
      if (here) { g.beginPath(); g.moveTo((i + .5) * step, 9 * dpr); g.lineTo((i + .5) * step - 5 * dpr, 0); g.lineTo((i + .5) * step + 5 * dpr, 0); g.fillStyle = '#fff'; g.fill(); }
    });
    this.stepWidth = step / dpr;
  }
  // pick shows the frame of the strip at x.
  pick(x) {
    if (!this.current || !this.stepWidth) return;
    this.hold();
    const list = this.gops.shown(this.current.gop), frame = list[Math.max(0, Math.min(list.length - 1, Math.floor(x / this.stepWidth)))];
    if (frame.timestamp === this.current.frame.timestamp) return;
    const gop = this.current.gop;
    this.picked = frame;
    return this.act(() => this.picked === frame ? this.show(gop, frame) : null);
  }
}

// repeats does something at once, and again while the button is held.
function repeats(id, what) {
  let first, again;
  const b = $(id), stop = () => { clearTimeout(first); clearInterval(again); };
  b.addEventListener('pointerdown', e => {
    if (e.button) return;
    stop();
    what();
    first = setTimeout(() => { again = setInterval(what, 80); }, 400);
  });
  for (const end of ['pointerup', 'pointerleave', 'pointercancel']) b.addEventListener(end, stop);
  b.addEventListener('click', e => { if (e.detail === 0) what(); }); // by the keyboard
  b.addEventListener('contextmenu', e => e.preventDefault());
}

function controls(p) {
  repeats('back', () => p.step(-1));
  repeats('forward', () => p.step(1));
  repeats('keyback', () => p.stepKey(-1));
  repeats('keyforward', () => p.stepKey(1));
  $('play').onclick = () => p.toggle();
  $('edge').onclick = () => p.edge();
  $('scrub').addEventListener('input', e => p.scrub(e.target.value * 1e6));
  $('scrub').addEventListener('change', e => { p.scrub(e.target.value * 1e6); p.settle(); });
  $('save').onclick = () => { $('save').href = canvas.toDataURL('image/png'); };
  const fill = () => document.fullscreenElement ? document.exitFullscreen() : $('screen').requestFullscreen && $('screen').requestFullscreen();
  const keys = {
    ArrowLeft: () => p.step(-1), ',': () => p.step(-1), ArrowRight: () => p.step(1), '.': () => p.step(1),
    PageUp: () => p.stepKey(-1), PageDown: () => p.stepKey(1), ArrowUp: () => p.stepKey(-1), ArrowDown: () => p.stepKey(1),
    Home: () => p.oldest(), End: () => p.edge(), l: () => p.edge(), ' ': () => p.toggle(), f: fill, s: () => $('save').click(),
  };
  document.addEventListener('keydown', e => {
    if (e.ctrlKey || e.altKey || e.metaKey) return;
    if (e.key === ' ' && e.target.tagName === 'BUTTON') e.target.blur();
    const what = keys[e.key];
    if (what) { e.preventDefault(); what(); }
  });
  const strip = $('gop'), x = e => e.clientX - strip.getBoundingClientRect().left;
  strip.addEventListener('pointerdown', e => { strip.setPointerCapture(e.pointerId); p.pick(x(e)); });
  strip.addEventListener('pointermove', e => { if (strip.hasPointerCapture(e.pointerId)) p.pick(x(e)); });
  // A swipe steps, a tap plays and pauses.
  let from = null, moved = 0;
  const screen = $('screen'), SWIPE = 18;
  screen.addEventListener('pointerdown', e => { if (!e.button) { from = e.clientX; moved = 0; screen.setPointerCapture(e.pointerId); } });
  screen.addEventListener('pointermove', e => {
    if (from === null) return;
    const n = Math.trunc((e.clientX - from) / SWIPE);
    if (n) { from += n * SWIPE; moved += Math.abs(n); p.step(Math.sign(n)); }
  });
  screen.addEventListener('pointerup', () => { if (from !== null && !moved) p.toggle(); from = null; });
  screen.addEventListener('pointercancel', () => { from = null; });
  // What nobody looks at is not loaded.
  document.addEventListener('visibilitychange', () => {
    if (p.mode === 'live') { if (document.hidden) { p.live.stop(); p.stream.stop(); } else p.edge(); }
  });
  addEventListener('resize', () => p.strip());
  addEventListener('hashchange', () => open(p));
  const tick = now => { if (p.mode === 'live') p.live.tick(now); requestAnimationFrame(tick); };
  requestAnimationFrame(tick);
  if (p.hasStream) setInterval(() => { if (!document.hidden) p.server.window().catch(() => {}); }, 5000);
}

// open shows the frame that the address names, or the newest, or the first of a file.
function open(p) {
  const time = /^#t=(\d+(?:\.\d+)?)$/.exec(location.hash);
  p.server.window().catch(() => {});
  if (time) return p.goTo(Math.round(time[1] * 1e6), true);
  if (p.hasStream) return p.edge();
  p.hold();
  return p.act(async () => { const g = await p.need('index=0'); await p.show(g, g.frames[0]); });
}

let player = null;
if (window.VideoDecoder) {
  player = new Player(document.querySelector('main').dataset.live === 'true');
  controls(player);
  open(player);
} else {
  $('state').textContent = 'cannot decode';
  $('note').textContent = window.isSecureContext ? 'This browser has no WebCodecs.' : 'Browsers decode frames for pages only over HTTPS, or from localhost.';
}
