"use strict";
// What the page shows comes from the verifier, which is the program in this file, and from the bundle. Of a bundle that doesn't hold, nothing
// is told but what failed. All of it is put in as text, never as markup.
(() => {
  const byId = (id) => document.getElementById(id);
  const maxBundle = 512 * 1024 * 1024;
  const maxText = 1024 * 1024;
  const marks = {
    pass: "m4 12.5 5.2 5.2L20 7", fail: "M6 6l12 12M18 6 6 18", none: "M6 12h12",
  };

  const make = (tag, attributes = {}, ...children) => {
    const e = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
    e.append(...children);
    return e;
  };
  const drawing = (path) => {
    const ns = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(ns, "svg"), p = document.createElementNS(ns, "path");
    for (const [k, v] of Object.entries({ viewBox: "0 0 24 24", fill: "none", stroke: "currentColor", "stroke-width": "2.6", "stroke-linecap": "round", "stroke-linejoin": "round", "aria-hidden": "true", focusable: "false" })) svg.setAttribute(k, v);
    p.setAttribute("d", path);
    svg.append(p);
    return svg;
  };
  const kindOf = (state) => (state === "pass" ? "pass" : state === "fail" ? "fail" : "none");
  const tag = (kind, text) => make("span", { class: "tag " + kind }, drawing(marks[kind]), text);
  const instant = (s) => String(s).replace("T", " ").replace(/(\.\d+)?Z$/, " UTC");
  const capital = (s) => s.charAt(0).toUpperCase() + s.slice(1);
  const titled = (check) => capital(check).replace(/^Id /, "ID ");
  const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));

  // The verifier is unpacked and compiled once, while the person chooses files.
  const start = async () => {
    const text = byId("program").textContent;
    const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const unpacked = new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip")));
    const go = new Go();
    const { instance } = await WebAssembly.instantiate(await unpacked.arrayBuffer(), go.importObject);
    go.run(instance);
    byId("program").remove();
    return JSON.parse(countersignChecks());
  };
  const ready = start();
  ready.then(
    () => { document.documentElement.dataset.ready = "yes"; },
    (why) => problem("This browser can’t run the verifier (" + why.message + "). Use a newer one, or the command countersign audit verify."),
  );

  const problem = (text) => { byId("problem").textContent = text; };
  const progress = (text) => { byId("progress").textContent = text; };

  // --- what is chosen ------------------------------------------------------------------------------------------------

  const chosen = {}; // by field: the file
  const fileField = (id, limit) => {
    const input = byId(id), state = byId(id + "-state");
    const take = (file) => {
      const large = file && file.size > limit;
      chosen[id] = large ? undefined : file;
      state.classList.toggle("bad", Boolean(large));
      state.textContent = !file ? "" : large ? `${file.name} is too large: at most ${limit / 1024 / 1024} MB are read.` : `${file.size.toLocaleString("en")} bytes`;
      problem("");
    };
    input.addEventListener("change", () => take(input.files[0]));
    return (file) => { // what was dropped shows in the field, as if it had been chosen there
      const carried = new DataTransfer();
      carried.items.add(file);
      input.files = carried.files;
      take(file);
    };
  };
  const takeBundle = fileField("bundle", maxBundle);
  const takeTenantCA = fileField("tenant-ca", maxText);
  const takeTSACA = fileField("tsa-ca", maxText);
  fileField("lock", maxText);
  fileField("pq-key", maxText);
  fileField("log-proof", maxText);

  // Roots can be dropped together with the bundle, where their names tell which they are.
  const drop = byId("drop");
  for (const kind of ["dragenter", "dragover"]) addEventListener(kind, (e) => { e.preventDefault(); drop.classList.add("over"); });
  for (const kind of ["dragleave", "drop"]) addEventListener(kind, (e) => { e.preventDefault(); drop.classList.remove("over"); });
  addEventListener("drop", (e) => {
    for (const file of e.dataTransfer.files) {
      if (!/\.(pem|crt|cer)$/i.test(file.name)) takeBundle(file);
      else if (/tsa|stamp/i.test(file.name)) takeTSACA(file);
      else takeTenantCA(file);
    }
  });

  const offered = JSON.parse(byId("anchors").textContent);
  const anchor = byId("anchor");
  if (offered.length > 0) {
    byId("offered").hidden = false;
    offered.forEach((a, i) => anchor.append(make("option", { value: String(i) }, a.name)));
    const follow = () => { byId("own").hidden = anchor.value !== ""; };
    anchor.addEventListener("change", follow);
    anchor.value = "0";
    follow();
  }

  const textOf = async (id) => (chosen[id] ? chosen[id].text() : "");
  const anchors = async () => {
    const logKey = byId("log-key").value.trim(), lock = await textOf("lock"), pqKey = await textOf("pq-key"), logProof = await textOf("log-proof");
    if (anchor.value !== "") {
      const a = offered[Number(anchor.value)];
      return { tenantCA: a.tenantCA, tsaCA: a.tsaCA, logKey: logKey || a.logKey || "", lock, pqKey: pqKey || a.pqKey || "", logProof };
    }
    return { tenantCA: await textOf("tenant-ca"), tsaCA: await textOf("tsa-ca"), logKey, lock, pqKey, logProof };
  };

  // --- verifying -----------------------------------------------------------------------------------------------------

  byId("form").addEventListener("submit", async (e) => {
    e.preventDefault();
    problem("");
    byId("result").hidden = true;
    const missing = !chosen.bundle ? ["bundle", "Choose the evidence bundle first."]
      : anchor.value === "" && !chosen["tenant-ca"] ? ["tenant-ca", "Choose the root of the organisation’s seal."]
      : anchor.value === "" && !chosen["tsa-ca"] ? ["tsa-ca", "Choose the root of the time-stamping authority."] : null;
    if (missing) {
      problem(missing[1]);
      byId(missing[0]).focus();
      return;
    }
    byId("fields").disabled = true;
    try {
      progress("Starting the verifier …");
      const checks = await ready;
      progress("Reading the file …");
      const bytes = new Uint8Array(await chosen.bundle.arrayBuffer());
      const a = await anchors();
      progress("Checking …");
      await painted();
      const answer = JSON.parse(countersignVerify(chosen.bundle.name, bytes, a.tenantCA, a.tsaCA, a.logKey, a.lock, a.pqKey, a.logProof));
      if (answer.error) throw new Error(answer.error);
      show(checks, answer);
      progress("Done.");
    } catch (why) {
      progress("");
      problem("Couldn’t verify, so nothing is said about the file: " + plain(why.message));
    } finally {
      byId("fields").disabled = false;
    }
    if (!byId("result").hidden) byId("verdict").focus();
  });

  const plain = (text) => text
    .replace("--tenant-ca:", "the root of the organisation’s seal:").replace("--tsa-ca:", "the root of the time-stamping authority:")
    .replace("--log-key:", "the public key of the log:").replace("--lock:", "the record of the lock:").replace("--pq-key:", "the post-quantum key:");

  // --- the answer ----------------------------------------------------------------------------------------------------

  const show = (checks, answer) => {
    const report = JSON.parse(answer.report);
    const of = (state) => report.findings.filter((f) => f.state === state);
    const failed = of("fail"), passed = of("pass"), open = of("not recorded");
    const holds = report.verified === true && failed.length === 0 && passed.length > 0;
    const statement = holds ? report.statement : null;

    byId("panel").className = "panel " + (holds ? "good" : "bad");
    byId("mark").replaceChildren(drawing(holds ? marks.pass : marks.fail));
    byId("verdict").textContent = holds ? "The evidence holds" : "The evidence does not hold";
    byId("sentence").textContent = holds
      ? `${capital(statement.outcome)}: ${statement.meaning.replace(/\.$/, "")}. Nothing in the file was changed since it was sealed, and every line of it follows from the record of the signing.`
      : "Don’t rely on this file, or on anything that it says. Check that the roots are the right ones, and ask the organisation itself for the original.";
    byId("faults").replaceChildren(...failed.map((f) => make("li", {}, make("strong", {}, titled(f.check)), ": " + f.detail)));
    byId("faults").hidden = failed.length === 0;
    names.clear();
    if (statement) know(statement);

    const time = report.findings.find((f) => f.check === "time");
    facts([
      ["File", report.file], statement && ["Request", statement.request.request || statement.request.id], statement && ["Title", statement.request.title], statement && ["Organisation", statement.tenant],
      statement && statement.requester && ["Requested by", named(statement.requester)], statement && ["Time", capital(time.detail)],
      ["SHA-256 of the file", report.sha256, true], statement && ["SHA-256 of the document", statement.request.document.sha256, true],
    ]);
    byId("deciders-section").hidden = !statement || statement.decisions.length === 0;
    byId("deciders").replaceChildren(...(statement ? statement.decisions.map(decider) : []));

    byId("tally").textContent = `${passed.length} passed, ${failed.length} failed, ${open.length} not recorded. What was not recorded is neither good nor bad: the file says nothing of it, or it was not given.`;
    const words = new Map(checks.map((c) => [c.check, c.proves]));
    byId("checks").replaceChildren(...report.findings.map((f) => make("li", { "data-check": f.check, "data-state": f.state },
      tag(kindOf(f.state), f.state),
      make("div", {}, make("h3", {}, titled(f.check)), make("p", {}, words.get(f.check) || ""), make("p", { class: "detail" }, f.detail)))));

    const lines = answer.timeline ? answer.timeline.lines : [];
    byId("timeline-section").hidden = lines.length === 0;
    byId("timeline").replaceChildren(...lines.map(happened));
    byId("report").textContent = answer.report;
    byId("result").hidden = false;
  };

  const facts = (list) => byId("facts").replaceChildren(...list.filter((f) => f && f[1]).map(([name, value, mono]) =>
    make("div", {}, make("dt", {}, name), make("dd", mono ? { class: "mono" } : {}, value))));

  const named = (p) => (p.name || p.actor && p.actor.sub || "") + (p.organisation ? ` (${p.organisation})` : "");

  const decider = (d) => {
    const refused = d.counted !== true;
    const who = make("p", { class: "who" }, d.name || d.sender);
    if (d.organisation) who.append(" ", make("span", {}, d.organisation));
    const more = [
      `Stage ${d.stage || "none"}`,
      d.onBehalfOf && `for ${named(d.onBehalfOf)}, under ${d.grants && d.grants.length > 1 ? d.grants.length + " grants" : "a grant"}`,
      !refused && (d.assurance >= 2 ? "proven by a fresh login and their own key" : "proven by a fresh login"),
      instant(d.at),
    ].filter(Boolean).join(" · ");
    const verdicts = { approve: "approved", reject: "rejected", skip: "broke the glass" };
    const item = make("li", {}, who,
      refused ? tag("none", "did not count") : tag(d.verdict === "approve" ? "pass" : d.verdict === "reject" ? "fail" : "none", verdicts[d.verdict] || d.verdict),
      make("p", { class: "more" }, more));
    if (d.reason) item.append(make("p", { class: "more" }, `“${d.reason}”`));
    if (refused) item.append(make("p", { class: "more" }, d.refusal ? `${capital(d.verdict || "decision")}: ${d.refusal.message || d.refusal.code}` : "It was not looked at."));
    return item;
  };

  // names are people's, by issuer and subject, as the statement has them.
  const names = new Map();
  const know = (statement) => {
    const put = (p) => { if (p && p.actor && p.name) names.set(p.actor.iss + "#" + p.actor.sub, named(p)); };
    put(statement.requester);
    for (const stage of statement.plan ? statement.plan.stages : []) {
      for (const list of [stage.eligible, ...(stage.escalation ? [stage.escalation.eligible] : [])]) (list || []).forEach(put);
    }
    for (const d of statement.decisions) put(d);
  };
  const nameOf = (text) => names.get(text) || (text.includes("#") ? text.split("#").pop() : text);

  const telling = new Set(["asked", "reminded", "telling", "told"]);
  const happened = (l) => {
    const actor = l.actor === "not recorded" ? "" : l.actor;
    const who = l.name ? named(l) : actor.includes("#") ? nameOf(actor) : "";
    const more = [who, l.onBehalfOf && "for " + named(l.onBehalfOf), l.verdict && l.stage && `${l.verdict} in stage ${l.stage}`, l.to && l.to.length > 0 && "to " + l.to.map(nameOf).join(", "), l.reason && `“${l.reason}”`, l.detail].filter(Boolean).join(" · ");
    return make("li", telling.has(l.kind) ? {} : { class: "main" },
      make("time", { datetime: l.at }, instant(l.at)), make("p", {}, capital(l.kind)), ...(more ? [make("p", { class: "more" }, more)] : []));
  };

  byId("save").addEventListener("click", () => {
    const url = URL.createObjectURL(new Blob([byId("report").textContent], { type: "application/json" }));
    make("a", { href: url, download: (chosen.bundle ? chosen.bundle.name : "bundle") + ".report.json" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  });
  byId("print").addEventListener("click", () => print());
})();
