"""What a release needs beside the program: audit, bill of materials, licences. Nothing of it is shipped."""
