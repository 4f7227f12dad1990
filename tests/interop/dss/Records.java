import eu.europa.esig.dss.diagnostic.DiagnosticData;
import eu.europa.esig.dss.diagnostic.EvidenceRecordWrapper;
import eu.europa.esig.dss.diagnostic.TimestampWrapper;
import eu.europa.esig.dss.diagnostic.jaxb.XmlDigestMatcher;
import eu.europa.esig.dss.enumerations.DigestMatcherType;
import eu.europa.esig.dss.enumerations.Indication;
import eu.europa.esig.dss.model.DSSDocument;
import eu.europa.esig.dss.model.FileDocument;
import eu.europa.esig.dss.simplereport.SimpleReport;
import eu.europa.esig.dss.spi.DSSUtils;
import eu.europa.esig.dss.spi.validation.CommonCertificateVerifier;
import eu.europa.esig.dss.spi.x509.CommonTrustedCertificateSource;
import eu.europa.esig.dss.spi.x509.revocation.crl.ExternalResourcesCRLSource;
import eu.europa.esig.dss.validation.SignedDocumentValidator;
import eu.europa.esig.dss.validation.reports.Reports;
import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * Asks DSS about evidence records (RFC 4998, RFC 6283) over files that lie beside them, with the policy that it comes with, unchanged. It asks no network.
 *
 * <p>The argument is a file of cases, one a line, with tabs between: name, record, and three lists with commas between: the files that it may be over, trusted
 * certificates (PEM), revocation lists (DER). "-" is an empty list. The answer to each is one line of JSON.
 */
public class Records {
  public static void main(String[] args) throws Exception {
    for (String line : Files.readAllLines(Path.of(args[0]))) {
      String[] f = line.split("\t");
      System.out.println(answer(f[0], f[1], items(f[2]), items(f[3]), items(f[4])));
    }
  }

  static List<String> items(String list) {
    return list.equals("-") ? List.of() : List.of(list.split(","));
  }

  static String answer(String name, String record, List<String> files, List<String> roots, List<String> lists) {
    try {
      return json(name, validate(record, files, roots, lists));
    } catch (Exception e) {
      // DSS throws at what it can't read. That is an answer, too.
      return "{" + Main.text("case", name) + ",\"passed\":false," + Main.text("indication", "UNREADABLE") + ",\"why\":[" + Main.quote(String.valueOf(e.getMessage())) + "]}";
    }
  }

  static Reports validate(String record, List<String> files, List<String> roots, List<String> lists) {
    CommonTrustedCertificateSource trusted = new CommonTrustedCertificateSource();
    roots.forEach(r -> trusted.addCertificate(DSSUtils.loadCertificate(new File(r))));
    CommonCertificateVerifier verifier = new CommonCertificateVerifier();
    verifier.setTrustedCertSources(trusted);
    verifier.setAIASource(null);
    verifier.setCrlSource(new ExternalResourcesCRLSource(lists.stream().map(FileDocument::new).toArray(DSSDocument[]::new)));
    SignedDocumentValidator validator = SignedDocumentValidator.fromDocument(new FileDocument(record));
    validator.setCertificateVerifier(verifier);
    validator.setDetachedContents(files.stream().map(f -> (DSSDocument) new FileDocument(f)).toList());
    return validator.validateDocument();
  }

  static String json(String name, Reports reports) {
    SimpleReport report = reports.getSimpleReport();
    DiagnosticData data = reports.getDiagnosticData();
    List<EvidenceRecordWrapper> records = data.getEvidenceRecords();
    if (records.size() != 1) {
      return "{" + Main.text("case", name) + ",\"passed\":false," + Main.text("indication", "UNREADABLE") + ",\"why\":[" + Main.quote(records.size() + " evidence records") + "]}";
    }
    EvidenceRecordWrapper record = records.get(0);
    List<String> why = new ArrayList<>();
    report.getAdESValidationErrors(record.getId()).forEach(m -> why.add(Main.said(m)));
    List<String> imprints = new ArrayList<>();
    for (XmlDigestMatcher m : record.getDigestMatchers()) {
      imprints.add(imprint(m));
    }
    List<String> stamps = new ArrayList<>();
    for (TimestampWrapper t : record.getTimestampList()) {
      boolean tree = true;
      for (XmlDigestMatcher m : t.getDigestMatchers()) {
        // A value of the tree that no file at hand has is a neighbour's: the tree holds by what leads to the imprint.
        tree = tree && (m.isDataIntact() || m.getType() == DigestMatcherType.EVIDENCE_RECORD_ORPHAN_REFERENCE);
      }
      stamps.add("{" + Main.text("time", t.getProductionTime().toInstant().toString()) + "," + Main.text("indication", String.valueOf(report.getIndication(t.getId())))
          + "," + Main.text("subIndication", String.valueOf(report.getSubIndication(t.getId()))) + ",\"imprintIntact\":" + t.isMessageImprintDataIntact()
          + ",\"signatureIntact\":" + t.isSignatureIntact() + ",\"treeIntact\":" + tree + "}");
      report.getAdESValidationErrors(t.getId()).forEach(m -> why.add(Main.said(m)));
    }
    Indication indication = report.getIndication(record.getId());
    return "{" + Main.text("case", name) + ",\"passed\":" + (indication == Indication.PASSED) + "," + Main.text("indication", String.valueOf(indication))
        + "," + Main.text("subIndication", String.valueOf(report.getSubIndication(record.getId()))) + "," + Main.text("type", String.valueOf(record.getEvidenceRecordType()))
        + ",\"structure\":" + record.isStructuralValidationValid() + ",\"imprints\":" + Main.list(imprints) + ",\"stamps\":" + Main.list(stamps) + ",\"why\":" + Main.list(why) + "}";
  }

  static String imprint(XmlDigestMatcher m) {
    return "{" + Main.text("type", String.valueOf(m.getType())) + "," + Main.text("file", String.valueOf(m.getDocumentName()))
        + ",\"found\":" + m.isDataFound() + ",\"intact\":" + m.isDataIntact() + "}";
  }
}
