"""Certifies a PDF with pyHanko and a key of one's own, so that forms may be filled in (P 2), or comments made as well (P 3).

    certify.py PDF KEY CERTIFICATE P OUT
"""
import sys

from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import fields, signers

source, key, certificate, permission, out = sys.argv[1:]
metadata = signers.PdfSignatureMetadata(field_name="Certified", certify=True, docmdp_permissions=fields.MDPPerm(int(permission)))
with open(source, "rb") as pdf, open(out, "wb") as target:
    signers.sign_pdf(IncrementalPdfFileWriter(pdf), metadata, signers.SimpleSigner.load(key, certificate), output=target)
