"""Where everything comes from: known vulnerabilities, licences, bills of materials."""
