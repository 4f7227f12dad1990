import eu.europa.esig.dss.diagnostic.DiagnosticData;
import eu.europa.esig.dss.diagnostic.SignatureWrapper;
import eu.europa.esig.dss.diagnostic.TimestampWrapper;
import eu.europa.esig.dss.enumerations.Indication;
import eu.europa.esig.dss.jaxb.object.Message;
import eu.europa.esig.dss.model.FileDocument;
import eu.europa.esig.dss.model.InMemoryDocument;
import eu.europa.esig.dss.model.x509.CertificateToken;
import eu.europa.esig.dss.simplereport.SimpleReport;
import eu.europa.esig.dss.spi.validation.CommonCertificateVerifier;
import eu.europa.esig.dss.spi.x509.CommonTrustedCertificateSource;
import eu.europa.esig.dss.validation.SignedDocumentValidator;
import eu.europa.esig.dss.validation.reports.Reports;
import java.io.ByteArrayOutputStream;
import java.io.FileInputStream;
import java.io.InputStream;
import java.math.BigInteger;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import javax.xml.parsers.DocumentBuilderFactory;
import javax.xml.transform.TransformerFactory;
import javax.xml.transform.dom.DOMSource;
import javax.xml.transform.stream.StreamResult;
import org.w3c.dom.Document;
import org.w3c.dom.Element;
import org.w3c.dom.NodeList;

/**
 * Asks DSS, the EU's own implementation of its signature standards, about a list of signed files. It asks no network.
 *
 * <p>The argument is a file of cases, one a line, with tabs between: name, signed file, content ("-" where the file has it),
 * and two files of trusted certificates (PEM). The answer to each is one line of JSON. Of a PDF, the last signature is judged alone: it
 * covers what strangers signed before.
 */
public class Main {
  public static void main(String[] args) throws Exception {
    byte[] usual = policy(null);
    byte[] beside = policy("CAdES-BASELINE-T");
    byte[] inside = policy("PAdES-BASELINE-T");
    for (String line : Files.readAllLines(Path.of(args[0]))) {
      String[] f = line.split("\t");
      System.out.println(answer(f[0], f[1], f[2], List.of(f[3], f[4]), usual, f[1].endsWith(".pdf") ? inside : beside));
    }
  }

  static String answer(String name, String signed, String content, List<String> roots, byte[] usual, byte[] ours) {
    try {
      SimpleReport strict = validate(signed, content, roots, usual).getSimpleReport();
      Reports reports = validate(signed, content, roots, ours);
      return json(name, strict, reports.getSimpleReport(), reports.getDiagnosticData(), signed.endsWith(".pdf"));
    } catch (Exception e) {
      // DSS throws at what it can't read. That is an answer, too.
      return "{" + text("case", name) + ",\"passed\":false," + text("indication", "UNREADABLE") + ",\"why\":[" + quote(String.valueOf(e.getMessage())) + "]}";
    }
  }

  static Reports validate(String signed, String content, List<String> roots, byte[] policy) throws Exception {
    CommonTrustedCertificateSource trusted = new CommonTrustedCertificateSource();
    for (String root : roots) {
      try (InputStream in = new FileInputStream(root)) { // a file may have several
        for (Certificate c : CertificateFactory.getInstance("X.509").generateCertificates(in)) {
          trusted.addCertificate(new CertificateToken((X509Certificate) c));
        }
      }
    }
    CommonCertificateVerifier verifier = new CommonCertificateVerifier();
    verifier.setTrustedCertSources(trusted);
    verifier.setAIASource(null);
    SignedDocumentValidator validator = SignedDocumentValidator.fromDocument(new FileDocument(signed));
    validator.setCertificateVerifier(verifier);
    if (!content.equals("-")) {
      validator.setDetachedContents(List.of(new FileDocument(content)));
    }
    return validator.validateDocument(new InMemoryDocument(policy), null);
  }

  /**
   * The policy that DSS comes with, and for ours four changes: it doesn't ask for revocation data, because B-T carries none;
   * it takes one format alone, at level T or LT, with a time-stamp that is valid in full; a file that nothing signs is an error, and so is a fault of structure.
   */
  static byte[] policy(String format) throws Exception {
    Document xml;
    try (InputStream in = SignedDocumentValidator.class.getResourceAsStream("/policy/constraint.xml")) {
      DocumentBuilderFactory factory = DocumentBuilderFactory.newInstance();
      factory.setNamespaceAware(true);
      xml = factory.newDocumentBuilder().parse(in);
    }
    if (format != null) {
      level(xml, "RevocationDataAvailable", "IGNORE");
      level(xml, "AcceptableRevocationDataFound", "IGNORE");
      level(xml, "AllFilesSigned", "FAIL");
      level(xml, "StructuralValidation", "FAIL");
      Element formats = (Element) xml.getElementsByTagName("AcceptableFormats").item(0);
      Element level = (Element) formats.getElementsByTagName("Id").item(0);
      level.setTextContent(format);
      ((Element) formats.appendChild(level.cloneNode(true))).setTextContent(format.replaceAll("-T$", "-LT"));
      Element stamp = xml.createElementNS(formats.getNamespaceURI(), "TLevelTimeStamp");
      stamp.setAttribute("Level", "FAIL");
      xml.getElementsByTagName("UnsignedAttributes").item(0).appendChild(stamp);
    }
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    TransformerFactory.newInstance().newTransformer().transform(new DOMSource(xml), new StreamResult(out));
    return out.toByteArray();
  }

  static void level(Document xml, String constraint, String level) {
    NodeList all = xml.getElementsByTagName(constraint);
    if (all.getLength() == 0) {
      throw new IllegalStateException("the policy of DSS has no constraint " + constraint + " any more");
    }
    for (int i = 0; i < all.getLength(); i++) {
      ((Element) all.item(i)).setAttribute("Level", level);
    }
  }

  static String json(String name, SimpleReport strict, SimpleReport report, DiagnosticData data, boolean pdf) {
    List<String> signatures = new ArrayList<>();
    List<String> why = new ArrayList<>();
    List<SignatureWrapper> judged = new ArrayList<>(data.getSignatures());
    if (pdf && !judged.isEmpty()) {
      judged = List.of(Collections.max(judged, Comparator.comparing(Main::end)));
    }
    boolean passed = judged.size() == 1;
    for (SignatureWrapper s : judged) {
      String id = s.getId();
      passed = passed && report.getIndication(id) == Indication.TOTAL_PASSED;
      report.getAdESValidationErrors(id).forEach(m -> why.add(said(m)));
      List<String> files = new ArrayList<>();
      s.getDigestMatchers().stream().filter(d -> d.getDocumentName() != null && d.isDataIntact()).forEach(d -> files.add(quote(d.getDocumentName())));
      List<String> stamps = new ArrayList<>();
      for (TimestampWrapper t : s.getTimestampList()) {
        stamps.add("{" + text("time", t.getProductionTime().toInstant().toString()) + "," + text("indication", String.valueOf(report.getIndication(t.getId())))
            + ",\"imprintIntact\":" + t.isMessageImprintDataIntact() + ",\"signatureIntact\":" + t.isSignatureIntact() + "}");
        report.getAdESValidationErrors(t.getId()).forEach(m -> why.add(said(m)));
      }
      List<String> warnings = new ArrayList<>();
      report.getAdESValidationWarnings(id).forEach(m -> warnings.add(said(m)));
      signatures.add("{" + text("format", String.valueOf(s.getSignatureFormat())) + "," + text("indication", String.valueOf(report.getIndication(id)))
          + "," + text("subIndication", String.valueOf(report.getSubIndication(id))) + ",\"files\":" + list(files) + ",\"timestamps\":" + list(stamps)
          + ",\"warnings\":" + list(warnings)
          + "," + text("withRevocation", strict.getIndication(id) + " " + strict.getSubIndication(id)) + "}");
    }
    return "{" + text("case", name) + ",\"passed\":" + passed + "," + text("container", String.valueOf(report.getContainerType())) + ",\"signatures\":" + list(signatures) + ",\"why\":" + list(why) + "}";
  }

  /** Where the range ends that a signature in a PDF covers. */
  static BigInteger end(SignatureWrapper s) {
    List<BigInteger> range = s.getSignatureByteRange();
    return range == null || range.size() != 4 ? BigInteger.ZERO : range.get(2).add(range.get(3));
  }

  static String said(Message m) {
    return quote(m.getKey() + ": " + m.getValue());
  }

  static String list(List<String> items) {
    return "[" + String.join(",", items) + "]";
  }

  static String text(String key, String value) {
    return quote(key) + ":" + quote(value);
  }

  static String quote(String s) {
    StringBuilder out = new StringBuilder("\"");
    for (char c : s.toCharArray()) {
      if (c == '"' || c == '\\') {
        out.append('\\').append(c);
      } else if (c < ' ' || c > '~') {
        out.append(String.format("\\u%04x", (int) c));
      } else {
        out.append(c);
      }
    }
    return out.append('"').toString();
  }
}
