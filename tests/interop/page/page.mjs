// Opens the page from disk in Chromium, gives it the vectors of bundles, whole and broken, and compares what it says with what the command says.
// Run it without a network (page.sh does, where the kernel allows): the page needs none.
//
//   node page.mjs PAGE VERIFIER VECTORS [SCREENSHOTS]
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { gunzipSync } from "node:zlib";
import puppeteer from "puppeteer-core";

const [pageFile, verifier, vectors, shots] = process.argv.slice(2).map((p) => resolve(p));
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const work = mkdtempSync(join(tmpdir(), "page-"));
let failed = 0;
const check = (what, good, why = "") => {
  failed += good ? 0 : 1;
  console.log(`${good ? "ok   " : "FAIL "}page: ${what}${good || !why ? "" : ": " + why}`);
};

const list = JSON.parse(readFileSync(join(vectors, "bundles.json"), "utf8")).map((v, i) => {
  let raw = readFileSync(join(vectors, v.file));
  if (v.file.endsWith(".gz")) raw = gunzipSync(raw);
  if (v.flip !== undefined) raw[v.flip] ^= 1;
  const file = `${String(i).padStart(2, "0")}-${basename(v.file, ".gz")}`;
  writeFileSync(join(work, file), raw);
  return { ...v, file, tenantCA: join(vectors, v.tenantCA), tsaCA: join(vectors, v.tsaCA), pqKey: v.postQuantumKey && join(vectors, v.postQuantumKey) };
});

// said is what the command says, with its exit code.
const said = (v) => {
  const args = [v.file, "--tenant-ca", v.tenantCA, "--tsa-ca", v.tsaCA, "--json", ...(v.pqKey ? ["--pq-key", v.pqKey] : [])];
  try {
    return [0, execFileSync(verifier, args, { cwd: work, encoding: "utf8", env: {}, stdio: ["ignore", "pipe", "ignore"] })];
  } catch (e) {
    return [e.status, e.stdout];
  }
};

const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", pipe: true, // no port: there may be no network at all
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--disable-component-update"],
});
try {
  const page = await browser.newPage();
  const asked = [], faults = [];
  page.on("request", (r) => asked.push(r.url()));
  page.on("pageerror", (e) => faults.push(e.message));
  page.on("console", (m) => ["error", "warn"].includes(m.type()) && faults.push(m.text()));

  const look = async (width, scheme) => {
    await page.setViewport({ width, height: 900, deviceScaleFactor: 1 });
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }, { name: "prefers-reduced-motion", value: "reduce" }]);
  };
  const verify = async (v) => {
    for (const [field, file] of [["#bundle", join(work, v.file)], ["#tenant-ca", v.tenantCA], ["#tsa-ca", v.tsaCA], ["#pq-key", v.pqKey]]) {
      await (await page.$(field)).uploadFile(...(file ? [file] : []));
    }
    await page.click("#go");
    await page.waitForFunction(() => !document.getElementById("fields").disabled && (!document.getElementById("result").hidden || document.getElementById("problem").textContent), { timeout: 120000 });
    return page.evaluate(() => ({
      verdict: document.getElementById("verdict").textContent, report: document.getElementById("report").textContent, problem: document.getElementById("problem").textContent,
      checks: Object.fromEntries([...document.querySelectorAll("#checks li")].map((li) => [li.dataset.check, li.dataset.state])),
      deciders: document.querySelectorAll("#deciders li").length, lines: document.querySelectorAll("#timeline li").length,
      focus: document.activeElement.id,
    }));
  };
  // fits looks for what is wrong with a state of the page: at two widths, in both schemes.
  const fits = async (state) => {
    for (const width of [320, 1280]) {
      for (const scheme of ["light", "dark"]) {
        await look(width, scheme);
        const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        check(`${state} fits ${width} px (${scheme})`, over <= 0, `${over} px too wide`);
        await page.evaluate(axe);
        const { violations } = await page.evaluate(() => axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
        check(`${state} is accessible at ${width} px (${scheme})`, violations.length === 0, violations.map((v) => `${v.id} ${v.nodes[0].target}: ${v.nodes[0].failureSummary}`).join("; "));
        if (shots) {
          mkdirSync(shots, { recursive: true });
          await page.screenshot({ path: join(shots, `${state.replaceAll(" ", "-")}-${width}-${scheme}.png`), fullPage: true });
        }
      }
    }
  };

  await look(1280, "light");
  await page.goto(pathToFileURL(pageFile).href);
  await page.waitForFunction(() => document.documentElement.dataset.ready === "yes", { timeout: 120000 });
  await fits("the form");

  await page.keyboard.press("Tab");
  check("the first thing that a keyboard reaches skips to the form", await page.evaluate(() => document.activeElement.className === "skip"));
  const reached = [];
  for (let i = 0; i < 12; i++) {
    await page.keyboard.press("Tab");
    reached.push(await page.evaluate(() => document.activeElement.id || document.activeElement.tagName));
  }
  check("a keyboard reaches each field and the button", ["bundle", "tenant-ca", "tsa-ca", "SUMMARY", "go"].every((id) => reached.includes(id)), reached.join(" "));
  await page.focus("#go");
  await page.keyboard.press("Enter");
  check("without a file it says what is missing, and goes there", await page.evaluate(() => /bundle/.test(document.getElementById("problem").textContent) && document.activeElement.id === "bundle"));

  let whole = 0;
  for (const v of list) {
    const got = await verify(v);
    const [exit, report] = said(v);
    const holds = v.fails.length === 0;
    whole += holds ? 1 : 0;
    check(`${v.about}: the verdict`, got.verdict === (holds ? "The evidence holds" : "The evidence does not hold") && exit === (holds ? 0 : 6), `${got.verdict} ${got.problem} (exit code ${exit})`);
    check(`${v.about}: the command's report, byte for byte`, got.report === report && report !== "", got.report.slice(0, 300));
    check(`${v.about}: each check with its state`, JSON.stringify(Object.entries(got.checks).sort()) === JSON.stringify(Object.entries(v.findings).sort()), JSON.stringify(got.checks));
    check(`${v.about}: ${holds ? "tells who decided and what happened" : "tells nothing of a forgery"}`, holds ? got.deciders > 0 && got.lines > 10 : got.deciders === 0 && got.lines === 0, `${got.deciders} people, ${got.lines} lines`);
    if (got.focus !== "verdict") check(`${v.about}: a screen reader is taken to the verdict`, false, got.focus);
  }
  check("vectors that hold and vectors that don't were tried", whole >= 2 && list.length - whole >= 10, `${whole} of ${list.length}`);

  const unreadable = await verify({ ...list[0], tenantCA: join(work, list[0].file) });
  check("roots that are none are a problem, not a verdict", unreadable.problem.includes("root of the organisation") && await page.evaluate(() => document.getElementById("result").hidden), unreadable.problem);

  await verify(list[0]);
  await fits("evidence that holds");
  await verify(list.find((v) => v.about.includes("another reason")));
  await fits("evidence that does not");

  check("nothing was asked of a network", asked.every((u) => /^(file|data|blob):/.test(u)), asked.join(" "));
  check("no script failed and no policy was broken", faults.length === 0, faults.join("; "));
  const stopped = await page.evaluate(async () => {
    const broken = [];
    addEventListener("securitypolicyviolation", (e) => broken.push(e.effectiveDirective));
    await fetch("http://127.0.0.1:9/?stolen").catch(() => {});
    new Image().src = "http://127.0.0.1:9/stolen.png";
    document.body.append(Object.assign(document.createElement("script"), { textContent: "window.injected = true" }));
    await new Promise((done) => setTimeout(done, 200));
    return { broken, injected: window.injected === true };
  });
  check("a script that wanted to send something couldn't", stopped.broken.includes("connect-src") && stopped.broken.includes("img-src") && stopped.broken.includes("script-src-elem") && !stopped.injected, JSON.stringify(stopped));
} catch (e) {
  check("the page could be driven", false, e.stack);
} finally {
  await browser.close();
  rmSync(work, { recursive: true });
}
process.exitCode = failed === 0 ? 0 : 1;
