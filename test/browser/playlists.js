// Reads each playlist named on the command line in hls-parser's strict mode;
// prints what it finds as JSON lines and fails at the first fault.
const fs = require('fs');
const hls = require('hls-parser');

hls.setOptions({ strictMode: true });
for (const name of process.argv.slice(2)) {
	try {
		const p = hls.parse(fs.readFileSync(name, 'utf8'));
		console.log(JSON.stringify({ name, master: p.isMasterPlaylist, segments: (p.segments || []).length, variants: (p.variants || []).length }));
	} catch (e) {
		console.error(`${name}: ${e.message}`);
		process.exitCode = 1;
	}
}
