// Drives Chromium over the page of a daemon and fails at the first thing that is
// not as its owner, a stranger or a foreign page must find it. Its one argument is
// the config that page_test.go writes.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chromium } from "playwright-core";

const config = JSON.parse(process.argv[2]);
const { origin } = new URL(config.page);
const browser = await chromium.launchPersistentContext(config.profile, {
  executablePath: config.chromium,
  headless: true,
  env: { ...process.env, HOME: config.profile, TMPDIR: config.profile }, // all it writes goes with the profile
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
browser.setDefaultTimeout(30_000);
process.stdin.resume().on("end", () => process.kill(process.pid, "SIGTERM")).unref(); // the test is gone: Playwright ends the browser

const complaints = [];

// open opens a tab in which nothing may go wrong.
async function open(url) {
  const page = await browser.newPage();
  page.on("console", (m) => { if (["error", "warning"].includes(m.type())) complaints.push(m.text()); });
  page.on("pageerror", (err) => complaints.push(err.message));
  const calls = [];
  page.on("request", (r) => { if (r.url().includes("/souk.api.")) calls.push(r.url()); });
  const response = await page.goto(url);
  assert.match(response.headers()["content-security-policy"], /^default-src 'self'/);
  return { page, calls };
}

const text = (page, id) => page.locator("#" + id).innerText();
const entries = async (page) => Number((await text(page, "tree")).match(/Entries\s+(\d+)/)?.[1] ?? 0);

async function offerAppears(page) {
  const offer = page.locator("#offers tr");
  await offer.first().waitFor();
  assert.equal(await offer.count(), 1);
  assert.match(await offer.innerText(), new RegExp(`CPU[^]*1 of 1\\s+0\\.36\\s+${config.provider.slice(0, 14)}`));
  assert.equal(await text(page, "link"), "live");
}

async function market() {
  const { page, calls } = await open(origin + "/");
  await offerAppears(page);
  assert.equal(await page.locator("#jobs tr, #devices tr").count(), 0);
  assert.match(await text(page, "jobs-none"), /souk dashboard/);
  assert.deepEqual(calls, [], "without the token nothing is asked for");
  return page;
}

async function ownersJob() {
  const { page } = await open(config.page);
  await offerAppears(page);
  await page.getByText("None yet. souk run job.yaml starts one.").waitFor();
  await page.locator("#devices tr", { hasText: /CPU[^]*not offered[^]*GiB/ }).waitFor();
  const before = await entries(page);
  const id = execFileSync(config.submit[0], config.submit.slice(1), { encoding: "utf8" }).trim();
  await page.locator("#jobs tr", { hasText: id.slice(0, 8) }).waitFor();

  // Text and state of one moment: lines are there while the job still runs.
  const early = await page.waitForFunction(() => {
    const [log, state] = ["log", "job-facts"].map((id) => document.getElementById(id).innerText);
    return log.includes("line 2 of ") && { log, state };
  }).then((h) => h.jsonValue());
  assert.match(early.state, /running/);
  assert.ok(!early.log.includes("line 24 of 24"), "the log came only when the job had ended");
  await page.locator("#log", { hasText: "line 6 of 24" }).waitFor();
  await logFromTheStart(); // while it runs

  await page.locator("#jobs .done").waitFor();
  await page.locator("#log", { hasText: "that was all" }).waitFor();
  const lines = (await text(page, "log")).split("\n").filter((l) => l.startsWith("line "));
  assert.deepEqual(lines.map((l) => l.split(":")[0]), Array.from({ length: 24 }, (_, i) => `line ${i + 1} of 24`));
  assert.ok(lines.every((l) => l.endsWith("<b>plain</b>")), "output of a job is text, never markup");
  const facts = await text(page, "job-facts");
  assert.match(facts, /State\s+done/);
  const paid = Number(facts.match(/Paid\s+([\d.]+) tokens of at most/)?.[1]);
  assert.ok(paid > 0, `paid ${paid}`);
  const receipts = parseInt(await text(page, "receipts-n"));
  assert.ok(receipts >= 3, `${receipts} receipts`);
  assert.match(await page.locator("#receipts tr").first().innerText(), /final/);
  await page.waitForFunction((n) => document.getElementById("tree").innerText.includes(`Entries\n${n}`), before + receipts);
  await logFromTheStart(); // when it is over
  await charts(page);
  return page;
}

// charts looks at the lines of what the job's processor measured.
async function charts(page) {
  const used = page.getByRole("img", { name: /^Processor in use: [\d.]+ cores$/ });
  await used.waitFor();
  const line = await used.locator("path").getAttribute("d");
  assert.match(line, /^M[\d.]+ [\d.]+L/, "a line of one sample");
  const box = await used.boundingBox();
  assert.ok(box.width > 150 && box.height > 50, `a chart of ${JSON.stringify(box)}`);
  assert.match(await page.locator("#charts .legend").innerText(), /cpu-/);
  assert.equal(await page.getByRole("img", { name: /^Temperature/ }).count(), 0, "what a device cannot tell has no chart");
  if (process.env.SOUK_PICTURE) await page.screenshot({ path: process.env.SOUK_PICTURE, fullPage: true });
}

// logFromTheStart checks that a page opened late shows what came before.
async function logFromTheStart() {
  const { page } = await open(config.page);
  await page.locator("#log", { hasText: "line 1 of 24" }).waitFor();
  await page.close();
}

// usable checks what no picture shows: the keyboard, names for who cannot see, a phone.
async function usable(page) {
  const job = page.locator("#jobs button").first();
  await job.focus();
  await page.waitForResponse((r) => r.url().endsWith(".Jobs/List")).then((r) => r.finished());
  assert.ok(await job.evaluate((e) => e === document.activeElement), "an update takes the focus away");
  assert.equal(await job.getAttribute("aria-pressed"), "true");
  for (const name of ["Offers", "Jobs", "Receipts \\d", "This machine"]) {
    await page.getByRole("table", { name: new RegExp("^" + name) }).waitFor();
  }
  await page.setViewportSize({ width: 390, height: 844 });
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "a phone must scroll sideways");
}

// foreignPage is a page of another origin, open in the same browser: it reaches nothing.
async function foreignPage() {
  const page = await browser.newPage();
  await page.goto(config.foreign);
  for (const path of ["/souk.api.v1.Jobs/List", "/v1/events", "/"]) {
    const send = (mode) => page.evaluate(([url, mode]) => fetch(url, { mode, method: "POST", body: "{}" }).then((r) => r.type, () => "nothing"), [origin + path, mode]);
    const answer = page.waitForResponse(origin + path); // which the page itself is not shown
    assert.equal(await send("no-cors"), "opaque", path);
    assert.equal((await answer).status(), 403, path);
    assert.equal(await send("cors"), "nothing", path);
  }
  await page.close();
}

// wrongToken is a page whose token is another node's: it says so, and asks no more.
async function wrongToken() {
  const page = await browser.newPage();
  await page.goto(origin + "/#token=" + "0".repeat(64));
  await page.locator("#notice", { hasText: "souk dashboard" }).waitFor();
  await offerAppears(page);
  assert.equal(await page.locator("#jobs tr").count(), 0);
  await page.close();
}

try {
  const stranger = await market();
  const owner = await ownersJob();
  await usable(owner);
  assert.equal(await stranger.locator("#jobs tr").count(), 0);
  await foreignPage();
  await wrongToken();
  assert.deepEqual(complaints, []);
  process.kill(config.daemon); // last: a page must say so when the daemon goes away
  for (const page of [stranger, owner]) await page.locator("#notice", { hasText: "does not answer" }).waitFor();
} catch (err) {
  for (const page of browser.pages()) console.error(`--- ${page.url().split("#")[0]}\n${await page.locator("body").innerText().catch(() => "")}`);
  console.error(complaints);
  throw err;
} finally {
  await browser.close();
}
