import java.io.File;
import org.verapdf.gf.foundry.VeraGreenfieldFoundryProvider;
import org.verapdf.pdfa.Foundries;
import org.verapdf.pdfa.PDFAParser;
import org.verapdf.pdfa.PDFAValidator;
import org.verapdf.pdfa.flavours.PDFAFlavour;
import org.verapdf.pdfa.results.TestAssertion;
import org.verapdf.pdfa.results.ValidationResult;

/**
 * Asks veraPDF whether files are what they say they are. The arguments are a flavour (3a, ua1) and a file, in turn; the answer to each is a line: the
 * flavour, the file, and true, or false with the rules that it breaks.
 */
public class Main {
  public static void main(String[] args) throws Exception {
    VeraGreenfieldFoundryProvider.initialise();
    for (int i = 0; i + 1 < args.length; i += 2) {
      PDFAFlavour flavour = PDFAFlavour.fromString(args[i]);
      try (PDFAParser parser = Foundries.defaultInstance().createParser(new File(args[i + 1]), flavour);
          PDFAValidator validator = Foundries.defaultInstance().createValidator(flavour, 100, false, false, false)) {
        ValidationResult result = validator.validate(parser);
        StringBuilder why = new StringBuilder();
        result.getTestAssertions().stream()
            .filter(a -> a.getStatus() == TestAssertion.Status.FAILED)
            .map(a -> " [" + a.getRuleId().getClause() + "-" + a.getRuleId().getTestNumber() + " " + a.getMessage() + "]")
            .distinct()
            .forEach(why::append);
        System.out.println(args[i] + " " + args[i + 1] + " " + (result.isCompliant() && result.getTotalAssertions() > 100) + why);
      }
    }
  }
}
