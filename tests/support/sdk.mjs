// Calls the vendor's SDK for Node as its documentation shows, and prints a line of JSON for each call: what was called,
// whether it did what is documented, and what it said if not. Run by test_sdk_node.py.
import assert from "node:assert/strict";
import { createReadStream, readFileSync } from "node:fs";
import { AssemblyAI } from "assemblyai";

const [baseUrl, apiKey, demo] = process.argv.slice(2);
const client = new AssemblyAI({ apiKey, baseUrl });
const { transcripts, files } = client;
const meeting = `${demo}/planning-meeting.mp3`;
const call = `${demo}/support-call.ogg`;
const talk = `${demo}/kitchen-talk.m4a`;
const interview = `${demo}/radio-interview.flac`;
const soon = { pollingInterval: 100 };

async function does(name, act) {
  try {
    const result = await act();
    console.log(JSON.stringify({ name, ok: true }));
    return result;
  } catch (error) {
    console.log(JSON.stringify({ name, ok: false, said: String(error.stack) }));
    return undefined;
  }
}

const refuses = (name, act, says) => does(name, () => assert.rejects(act, { message: says }));

const done = await does("transcribe(path) with speaker labels", async () => {
  const transcript = await transcripts.transcribe({ audio: meeting, speaker_labels: true }, soon);
  assert.equal(transcript.status, "completed");
  assert.match(transcript.text, /old library building/);
  assert.deepEqual([...new Set(transcript.utterances.map((said) => said.speaker))], ["A", "B", "C"]);
  assert.equal(transcript.audio_duration, 45);
  assert.equal(transcript.words[0].start, 484);
  return transcript;
});

const short = { audio_end_at: 7000 };
for (const [name, audio] of [
  ["stream", () => createReadStream(interview)],
  ["buffer", () => readFileSync(interview)],
  ["data URL", () => `data:audio/flac;base64,${readFileSync(interview).toString("base64")}`],
  ["URL", () => files.upload(interview)],
]) {
  await does(`transcribe(${name})`, async () => {
    const transcript = await transcripts.transcribe({ audio: await audio(), ...short }, soon);
    assert.match(transcript.text, /^Our guest/);
  });
}

const submitted = await does("submit", async () => {
  const transcript = await transcripts.submit({ audio: talk, ...short });
  assert.ok(["queued", "processing"].includes(transcript.status));
  assert.equal(transcript.text, null);
  return transcript;
});
await does("waitUntilReady", async () => {
  assert.equal((await transcripts.waitUntilReady(submitted.id, soon)).status, "completed");
});
await does("get", async () => assert.equal((await transcripts.get(submitted.id)).id, submitted.id));
await does("create (deprecated)", async () => {
  assert.equal((await transcripts.create({ audio_url: talk, ...short }, soon)).status, "completed");
});
await refuses(
  "transcribe with a polling timeout",
  () => transcripts.transcribe({ audio: meeting }, { pollingInterval: 10, pollingTimeout: 20 }),
  "Polling timeout",
);

await does("sentences", async () => {
  const { sentences, id, confidence, audio_duration } = await transcripts.sentences(done.id);
  assert.equal(sentences[0].text, "Let us begin.");
  assert.equal(sentences[0].speaker, "A");
  assert.equal(sentences.flatMap((sentence) => sentence.words).length, done.words.length);
  assert.deepEqual([id, confidence, audio_duration], [done.id, done.confidence, 45]);
});
await does("paragraphs", async () => {
  const { paragraphs } = await transcripts.paragraphs(done.id);
  assert.equal(paragraphs.map((paragraph) => paragraph.text).join(" "), done.text);
});
await does("subtitles", async () => {
  assert.match(await transcripts.subtitles(done.id), /^1\n00:00:00,484 --> 00:00:0/);
});
await does("subtitles(vtt)", async () => {
  assert.match(await transcripts.subtitles(done.id, "vtt"), /^WEBVTT\n\n00:00\.484 --> 00:0/);
});
await does("subtitles(srt, 20)", async () => {
  const lines = (await transcripts.subtitles(done.id, "srt", 20)).split("\n");
  assert.ok(lines.every((line) => line.includes("-->") || line.length <= 20));
});
await refuses("subtitles(txt)", () => transcripts.subtitles(done.id, "txt"), "404: Not Found");
await does("wordSearch", async () => {
  const { matches, total_count } = await transcripts.wordSearch(done.id, ["library building", "the", "unsaid"]);
  assert.deepEqual(matches.map((match) => match.text), ["library building", "the"]);
  assert.equal(total_count, matches[0].count + matches[1].count);
  assert.equal(done.words[matches[0].indexes[0]].text, "library");
});

const failed = await does("transcribe(not audio)", async () => {
  const transcript = await transcripts.transcribe({ audio: Buffer.from("This is not audio.") }, soon);
  assert.equal(transcript.status, "error");
  assert.match(transcript.error, /^Transcoding failed\. File does not appear to contain audio\./);
  return transcript;
});
await refuses("sentences of a failed job", () => transcripts.sentences(failed.id), /status of 'error'/);
await refuses("get(unknown id)", () => transcripts.get("nobody"), "Transcript lookup error, transcript id not found");
await refuses("upload(nothing)", () => files.upload(Buffer.alloc(0)), /^Upload failed, please try again\./);
await refuses("redactedAudio", () => transcripts.redactedAudio(done.id), /no redacted audio/);
await refuses(
  "transcribe with what only the cloud can do",
  () => transcripts.transcribe({ audio: talk, sentiment_analysis: true, iab_categories: true }),
  "Not available on the local service: iab_categories, sentiment_analysis",
);

await does("transcribe with multichannel", async () => {
  const transcript = await transcripts.transcribe({ audio: call, multichannel: true, ...short }, soon);
  assert.deepEqual([...new Set(transcript.words.map((word) => word.channel))].sort(), ["1", "2"]);
  assert.equal(transcript.audio_channels, 2);
});
await does("transcribe with multichannel and speaker labels", async () => {
  const asked = { audio: call, multichannel: true, speaker_labels: true, ...short };
  const transcript = await transcripts.transcribe(asked, soon);
  assert.deepEqual([...new Set(transcript.utterances.map((said) => said.speaker))].sort(), ["1A", "2A"]);
});
await does("transcribe with speakers_expected", async () => {
  const asked = { audio: meeting, speaker_labels: true, speakers_expected: 2 };
  const transcript = await transcripts.transcribe(asked, soon);
  assert.equal(new Set(transcript.utterances.map((said) => said.speaker)).size, 2);
});
await does("transcribe with speaker_options", async () => {
  const bounds = { min_speakers_expected: 4, max_speakers_expected: 4 };
  const asked = { audio: meeting, speaker_labels: true, speaker_options: bounds };
  const transcript = await transcripts.transcribe(asked, soon);
  assert.equal(new Set(transcript.utterances.map((said) => said.speaker)).size, 4);
});
await does("transcribe with a part, a spelling, and neither case nor marks", async () => {
  const spelling = [{ from: ["wonderful"], to: "Wunderbar" }];
  const plain = { punctuate: false, format_text: false, custom_spelling: spelling, disfluencies: true };
  const transcript = await transcripts.transcribe({ audio: talk, ...short, ...plain }, soon);
  assert.match(transcript.text, /^that smells Wunderbar what are you/);
  assert.ok(transcript.words.at(-1).end <= 7000);
});
await does("transcribe with speech_models and language_code", async () => {
  const asked = { audio: talk, ...short, speech_models: ["universal-2"], language_code: "en_us" };
  const transcript = await transcripts.transcribe(asked, soon);
  assert.deepEqual([transcript.status, transcript.speech_model_used], ["completed", "moonshine"]);
});

const page = await does("list", async () => {
  const first = await transcripts.list({ limit: 2, status: "completed" });
  assert.equal(first.transcripts.length, 2);
  assert.ok(first.transcripts[0].created >= first.transcripts[1].created);
  assert.ok(first.transcripts[0].completed instanceof Date);
  return first;
});
await does("list(prev_url), to the end", async () => {
  const seen = page.transcripts.map((item) => item.id);
  let url = page.page_details.prev_url;
  while (url !== null) {
    const older = await transcripts.list(url);
    seen.push(...older.transcripts.map((item) => item.id));
    url = older.page_details.prev_url;
  }
  assert.equal(new Set(seen).size, seen.length);
  assert.equal(seen.at(-1), done.id);
});
await does("list({ after_id, status: undefined })", async () => {
  const newer = await transcripts.list({ after_id: done.id, status: undefined, limit: 200 });
  assert.ok(newer.transcripts.some((item) => item.id === failed.id && item.error === failed.error));
});
await refuses("list({ limit: 201 })", () => transcripts.list({ limit: 201 }), /limit must be between 1 and 200/);

await does("delete", async () => {
  const gone = await transcripts.delete(done.id);
  assert.deepEqual([gone.text, gone.words, gone.audio_url], ["Deleted by user.", null, "http://deleted_by_user"]);
});
await does("get(deleted)", async () => assert.equal((await transcripts.get(done.id)).text, "Deleted by user."));
await refuses("subtitles(deleted)", () => transcripts.subtitles(done.id), /has been deleted/);

const stranger = new AssemblyAI({ apiKey: "wrong", baseUrl }).transcripts;
for (const [name, act] of [
  ["list", () => stranger.list()],
  ["transcribe", () => stranger.transcribe({ audio: talk })],
  ["get", () => stranger.get(failed.id)],
]) {
  await refuses(`${name} with a wrong key`, act, "Authentication error, API token missing/invalid");
}
