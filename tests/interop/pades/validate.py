"""What pyHanko says of PDFs that `pades` signed.

    validate.py OUT CA TSA_CA <LINES

LINES are those that `pades` printed. For each signed file: the new signature is intact, trusted, time-stamped, covers the whole file, and
says what PAdES-B-T wants; it shows a seal where OUT/visible names the file, and nothing where not; each earlier signature is as intact as before, and pyHanko's difference analysis finds nothing but the new
signature field. One line is printed for each file. pyHanko reads strictly, and leniently only what it wouldn't read strictly before
it was signed: hybrid files, and those with faults that it doesn't forgive.
"""
import logging
import pathlib
import sys

from asn1crypto import cms
from pyhanko.keys import load_cert_from_pemder
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.diff_analysis import ModificationLevel
from pyhanko.sign.validation import validate_pdf_signature
from pyhanko_certvalidator import ValidationContext

logging.disable(logging.CRITICAL)
out, ca, tsa = pathlib.Path(sys.argv[1]), load_cert_from_pemder(sys.argv[2]), load_cert_from_pemder(sys.argv[3])
VISIBLE = set((out / "visible").read_text().split()) if (out / "visible").exists() else set()
ALLOWED = (ModificationLevel.NONE, ModificationLevel.LTA_UPDATES, ModificationLevel.FORM_FILLING)


def reader(path, strict):
    return PdfFileReader(open(path, "rb"), strict=strict)


def readable(path):
    """Whether pyHanko reads the file strictly, down to its form and first page."""
    try:
        pdf = reader(path, True)
        fields(pdf)
        pdf.find_page_for_modification(0)
        return not pdf.xrefs.hybrid_xrefs_present
    except Exception:
        return False


def status(signature):
    return validate_pdf_signature(
        signature, signer_validation_context=ValidationContext(trust_roots=[ca]), ts_validation_context=ValidationContext(trust_roots=[tsa]))


def earlier(signature):
    """The state of a signature that was there before; nothing where pyHanko can't read it."""
    try:
        return status(signature)
    except Exception:
        return None


def covered(path, signature):
    """The bytes of the ByteRange and the CMS, for other tools."""
    raw = path.read_bytes()
    a, b, c, d = signature.byte_range
    assert a == 0 and c + d == len(raw), "the signature doesn't cover the whole file"
    assert raw[b] == ord("<") and raw[c - 1] == ord(">"), "something beside the signature isn't covered"
    path.with_suffix(".p7s").write_bytes(signature.signed_data_bytes if hasattr(signature, "signed_data_bytes") else
                                         cms.ContentInfo({"content_type": "signed_data", "content": signature.signed_data}).dump())
    path.with_suffix(".covered").write_bytes(raw[:b] + raw[c:])


def check(path, original):
    strict = readable(original)
    before = reader(original, strict)
    old = [(s.field_name, earlier(s)) for s in before.embedded_regular_signatures]
    after = reader(path, strict)
    signatures = after.embedded_regular_signatures
    assert len(signatures) == len(old) + 1, f"{len(signatures)} signatures where there were {len(old)}"
    new, found = signatures[-1], status(signatures[-1])
    attributes = [a["type"].native for a in new.signer_info["signed_attrs"]]
    assert sorted(attributes) == ["content_type", "message_digest", "signing_certificate_v2"], attributes
    assert new.sig_object["/SubFilter"] == "/ETSI.CAdES.detached" and "/Reason" not in new.sig_object and "/M" in new.sig_object
    assert found.bottom_line and found.intact and found.valid and found.trusted, found.summary()
    assert found.timestamp_validity is not None and found.timestamp_validity.trusted, "no time-stamp"
    assert found.coverage.name == "ENTIRE_FILE" and found.modification_level == ModificationLevel.NONE, found.coverage
    for (name, was), signature in zip(old, signatures):
        now = earlier(signature)
        if was is None or now is None:
            assert was is now, f"the earlier signature {name} can't be read any more"
            continue
        assert signature.field_name == name and (now.intact, now.valid) == (was.intact, was.valid), f"the earlier signature {name} changed"
        if was.intact and was.modification_level in ALLOWED:
            assert now.modification_level in ALLOWED and now.docmdp_ok, f"the earlier signature {name}: {now.modification_level}"
    assert sorted(fields(before)) == sorted(f for f in fields(after) if f != new.field_name), "a form field is gone"
    covered(path, new)
    visible = seal(new.sig_field, path.stem in VISIBLE)
    return f"{visible}, {len(old)} earlier signatures, {len(fields(before))} fields, read {'strictly' if strict else 'leniently'}"


def seal(field, wanted):
    """What the field shows: a form that says who signed, in an embedded font, at its full size; or nothing."""
    left, bottom, right, top = (float(n) for n in field["/Rect"])
    if not wanted:
        assert (right - left, top - bottom) == (0, 0) and "/AP" not in field, "an invisible signature shows something"
        return "invisible"
    form = field["/AP"]["/N"]
    assert sorted((round(right - left, 2), round(top - bottom, 2))) == [50, 160] and [float(n) for n in form["/BBox"]] == [0, 0, 160, 50], field["/Rect"]
    assert "Signed electronically" in field["/TU"] and field["/TU"] == field["/Contents"], "who listens is told nothing"
    font = form["/Resources"]["/Font"]["/F"]
    assert "/FontFile2" in font["/DescendantFonts"][0]["/FontDescriptor"], "its font is not embedded"
    assert form.data.count(b" Tj") == 5, "it doesn't have five lines"
    return "with a seal"


def fields(pdf):
    if "/AcroForm" not in pdf.root or "/Fields" not in pdf.root["/AcroForm"]:
        return []
    return [str(f.get_object().get("/T", "")) for f in pdf.root["/AcroForm"]["/Fields"]]


failed = 0
for line in sys.stdin:
    verdict, name, path = line.rstrip("\n").split(" ", 2)
    if verdict != "signed":
        continue
    path = pathlib.Path(path)
    try:
        said = check(out / f"{name}.pdf", path)
        print(f"ok   pyHanko: {path.name}: {said}", flush=True)
    except Exception as problem:
        failed += 1
        print(f"FAIL pyHanko: {path.name}: {type(problem).__name__}: {problem}", flush=True)
sys.exit(failed > 0)
