// Serves one file, opened and read anew for each request.
const fs = require("fs");
const http = require("http");
const [, , port, file] = process.argv;
http.createServer((_, answer) => {
  fs.readFile(file, (error, data) => {
    answer.statusCode = error ? 500 : 200;
    answer.end(error ? String(error) : data);
  });
}).listen(Number(port), "127.0.0.1");
